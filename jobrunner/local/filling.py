"""Filling the folder that one action runs in: the study as it lies, and the outputs of its needs.

What is copied is hashed on the way, so that the record of the action says what it really saw.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jobrunner.local.hashing import with_kind
from jobrunner.local.study_files import StudyFiles
from jobrunner.privacy.beneath import OPEN_FILE, OPEN_FOLDER, open_beneath
from jobrunner.privacy.outputs import Untouched
from jobrunner.study.tree import EntryKind

# As in the agent's overlay: the job may change its own view of everything (design.md section 6).
_FOLDER_MODE: Final = 0o777
_MODES: Final = {EntryKind.FILE: 0o666, EntryKind.PROGRAM: 0o777}
_INPUT_MODE: Final = 0o444
_CHUNK: Final = 1 << 20


class FileChanged(Exception):
    """A file of the work tree is not there any more, or an input is not what its action wrote."""


@dataclass(slots=True)
class Filled:
    """`hashes`: as of `hash_study`, of each file that was copied. `untouched`: what each file looked like."""

    hashes: dict[str, str] = field(default_factory=dict)
    untouched: dict[str, Untouched] = field(default_factory=dict)


def fill(
    folder: Path,
    study: StudyFiles,
    tree: Path,
    inputs: Mapping[str, str],
    output_folders: Collection[str],
    owner: tuple[int, int] | None,
) -> Filled:
    """Make `folder` the workspace of an action.

    `inputs`: path to sha256, from the work tree `tree`; they lie over files of `study`. `output_folders` lie
    over both. `owner`: uid and gid to give everything to; None leaves it with the caller.
    Raises FileChanged, OSError.
    """
    filled = Filled()
    over = hidden(study.kinds, inputs, output_folders)
    folder.mkdir(parents=True, mode=0o700)
    root_fd, tree_fd = os.open(study.root, OPEN_FOLDER), os.open(tree, OPEN_FOLDER)
    try:
        made = {""}
        for path in (*_parents(inputs), *output_folders):
            _make_folder(folder, path, made)
        for path, digest in inputs.items():
            if _copy(tree_fd, path, folder / path, _INPUT_MODE, filled) != digest:
                raise FileChanged(f"{path} is not what its action wrote. Run again.")
        links: list[str] = []
        for path, kind in study.kinds.items():
            if path in over:
                continue
            _make_folder(folder, path.rpartition("/")[0], made)
            if kind is EntryKind.LINK:
                links.append(path)
            else:
                digest = _copy(root_fd, path, folder / path, _MODES[kind], filled)
                filled.hashes[path] = with_kind(digest, kind)
        # Last, so that no file can be written through one.
        for path in links:
            filled.hashes[path] = _link(root_fd, path, folder / path)
    finally:
        os.close(root_fd)
        os.close(tree_fd)
    if owner is not None:
        _give(folder, owner)
    folder.chmod(_FOLDER_MODE)
    return filled


def hidden(paths: Iterable[str], inputs: Collection[str], output_folders: Collection[str]) -> frozenset[str]:
    """Those of `paths` that an action does not see, since an input or an output folder lies over them."""
    over = {*inputs, *_parents(inputs), *output_folders, *_parents(output_folders)}
    return frozenset(
        path for path in paths if path in over or any(parent in inputs for parent in _parents([path]))
    )


def _parents(paths: Collection[str]) -> Iterator[str]:
    for path in paths:
        above = path.rpartition("/")[0]
        while above:
            yield above
            above = above.rpartition("/")[0]


def _make_folder(root: Path, path: str, made: set[str]) -> None:
    if path in made:
        return
    _make_folder(root, path.rpartition("/")[0], made)
    (root / path).mkdir()
    (root / path).chmod(_FOLDER_MODE)
    made.add(path)


def _copy(root_fd: int, path: str, destination: Path, mode: int, filled: Filled) -> str:
    try:
        source = open_beneath(root_fd, path, OPEN_FILE)
    except OSError as error:
        raise FileChanged(f"{path} cannot be read any more ({error.strerror}). Run again.") from error
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(source, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise FileChanged(f"{path} is no file any more. Run again.")
        with os.fdopen(os.open(destination, flags, 0o600), "wb", buffering=0) as target:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                _write_all(target.fileno(), chunk)
            os.fchmod(target.fileno(), mode)
            now = os.fstat(target.fileno())
    filled.untouched[path] = Untouched(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
    return digest.hexdigest()


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _link(root_fd: int, path: str, destination: Path) -> str:
    folder, _, name = path.rpartition("/")
    try:
        folder_fd = open_beneath(root_fd, folder, OPEN_FOLDER) if folder else os.dup(root_fd)
        try:
            target = os.readlink(name, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
    except OSError as error:
        raise FileChanged(f"{path} cannot be read any more ({error.strerror}). Run again.") from error
    destination.symlink_to(target)
    return hashlib.sha256(b"link\0" + os.fsencode(target)).hexdigest()


def _give(folder: Path, owner: tuple[int, int]) -> None:
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), *owner, follow_symlinks=False)
    os.chown(folder, *owner)
