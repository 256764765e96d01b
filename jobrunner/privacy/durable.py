"""Small steps that survive a power cut: fsync of files and folders, replacement by rename."""

import os
import secrets
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TEMPORARY = ".jr-new-"
_SYNCED_AT_ONCE = 8
# So few are on the disk before threads for them would have begun.
_FEW = 4


def sync_file(path: Path) -> None:
    """fsync a file, or a folder with its names, without following a link at its end."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(root: Path) -> None:
    """fsync every file and folder below `root`, and `root` itself. There must be no links."""
    found = [(Path(folder), files) for folder, _folders, files in os.walk(root, topdown=False)]
    paths = [folder / name for folder, files in found for name in files]
    if len(paths) <= _FEW:
        for path in paths:
            sync_file(path)
    else:
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as together:
            # The file system writes what is asked for at the same time in one go.
            deque(together.map(sync_file, paths), 0)
    for folder, _files in found:
        sync_file(folder)


def sync_folders(folders: Iterable[Path]) -> None:
    """fsync each of these folders that still exists."""
    for folder in set(folders):
        try:
            sync_file(folder)
        except FileNotFoundError:
            continue


def write_new(path: Path, content: bytes, mode: int = 0o444) -> None:
    """Replace `path` by a file with this content: a reader sees the old one whole or the new one whole."""
    temporary = temporary_beside(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_file(path.parent)


def link_new(source: str, path: str) -> None:
    """Make `path` a hard link to `source`, in place of what was there. Raises OSError (EXDEV)."""
    try:
        os.link(source, path, follow_symlinks=False)
        return
    except FileExistsError:
        if os.path.samestat(os.lstat(source), os.lstat(path)):
            return  # rename would do nothing, and leave the temporary name
    temporary = temporary_beside(Path(path))
    os.link(source, temporary, follow_symlinks=False)
    try:
        temporary.rename(path)
    except BaseException:
        temporary.unlink()
        raise


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no output can have been given by accident."""
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")


def make_folders(path: Path, mode: int = 0o755) -> None:
    """Make `path` and its missing parents, each synced into its parent."""
    if path.is_dir():
        return
    make_folders(path.parent, mode)
    try:
        path.mkdir(mode)
    except FileExistsError:
        return
    sync_file(path.parent)
