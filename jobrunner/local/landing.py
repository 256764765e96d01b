"""Outputs that passed come into the work tree: each whole or not at all, through no link, never outside."""

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Final

from jobrunner.local.hashing import hash_files
from jobrunner.local.places import why_not_there
from jobrunner.pipeline.patterns import PatternSet
from jobrunner.privacy import durable
from jobrunner.privacy.alike import shown
from jobrunner.privacy.beneath import OPEN_FOLDER
from jobrunner.privacy.outputs import CollectedFile, OutputsRefused

_MODE: Final = 0o644


def land(root: Path, files: Sequence[CollectedFile]) -> None:
    """Move the collected files to their paths below `root`.

    All places are looked at before the first one is written. Raises OutputsRefused when one is git's or our
    own, or is, or lies behind, a link or something else that is not ours to remove; OSError.
    """
    root_fd = os.open(root, OPEN_FOLDER)
    try:
        refused: list[tuple[str, str]] = []
        for file in files:
            try:
                _look(root_fd, file.path)
            except _InTheWay as found:
                refused.append((file.path, str(found)))
        if refused:
            raise OutputsRefused(refused)
        for file in files:
            with _parent(root_fd, file.path) as folder_fd:
                _put(file.stored, folder_fd, file.path.rpartition("/")[2])
    except _InTheWay as found:
        raise OutputsRefused([("", str(found))]) from found
    finally:
        os.close(root_fd)


def why_blocked(root: Path, pattern: str) -> str | None:
    """Why nothing that `pattern` matches could land below `root`, as far as its parts before a `*` tell.

    It is the end of a sentence about the output; None when nothing is in the way.
    """
    why = why_not_there(pattern)
    if why is not None:
        return why
    parts = pattern.split("/")
    plain = list(takewhile(lambda part: "*" not in part, parts))
    root_fd = os.open(root, OPEN_FOLDER)
    try:
        # A part with `*` stands for a name that is not there yet.
        _look(root_fd, "/".join(parts[: len(plain) + 1]))
    except _InTheWay as found:
        return str(found)
    except OSError as error:
        return f"its place cannot be looked at ({error.strerror})"
    finally:
        os.close(root_fd)
    return None


def remove_stale(
    root: Path,
    before: Mapping[str, str],
    now: Collection[str],
    patterns: Sequence[str],
    study: Collection[str],
) -> list[str]:
    """Remove outputs of an earlier run (path to sha256) that the new one did not write; returns what stays.

    One that was changed by hand since, that is a file of the study, that no pattern of `patterns` matches, or
    that lies where no output may, is not touched.
    """
    wanted = PatternSet(patterns)
    gone = [path for path in before if path not in now and path not in study and wanted.matching(path)]
    gone = [path for path in gone if why_not_there(path) is None]
    found = hash_files(root, gone)
    kept = []
    root_fd = os.open(root, OPEN_FOLDER)
    try:
        for path, digest in found.items():
            if digest != before[path]:
                kept.append(path)
                continue
            with _parent(root_fd, path) as folder_fd:
                os.unlink(path.rpartition("/")[2], dir_fd=folder_fd)
    finally:
        os.close(root_fd)
    return kept


class _InTheWay(Exception):
    """The text says what, as the end of a sentence about the output."""


def _look(root_fd: int, path: str) -> None:
    """Raise _InTheWay when the place of `path` cannot be used. Nothing is made."""
    why = why_not_there(path)
    if why is not None:
        raise _InTheWay(why)
    folder_fd = os.dup(root_fd)
    try:
        walked: list[str] = []
        *folders, name = path.split("/")
        for part in folders:
            walked.append(part)
            try:
                below = os.open(part, OPEN_FOLDER, dir_fd=folder_fd)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise _InTheWay(
                        f"{shown('/'.join(walked))} in the work tree is a link or a file, and no folder"
                    ) from error
                raise
            os.close(folder_fd)
            folder_fd = below
        try:
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise _InTheWay(f"{shown(path)} in the work tree is a link or a folder, and no file")
    finally:
        os.close(folder_fd)


@contextmanager
def _parent(root_fd: int, path: str) -> Iterator[int]:
    """The folder of `path`, made where it is missing; no part of the way is a link."""
    folder_fd = os.dup(root_fd)
    try:
        for part in path.split("/")[:-1]:
            try:
                os.mkdir(part, dir_fd=folder_fd)
            except FileExistsError:
                pass  # the next line finds out what it is
            try:
                below = os.open(part, OPEN_FOLDER, dir_fd=folder_fd)
            except OSError as error:
                raise _InTheWay(f"{shown(part)} in the work tree is no folder") from error
            os.close(folder_fd)
            folder_fd = below
        yield folder_fd
    finally:
        os.close(folder_fd)


def _put(stored: Path, folder_fd: int, name: str) -> None:
    stored.chmod(_MODE)
    try:
        os.replace(stored, name, dst_dir_fd=folder_fd)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _put_across(stored, folder_fd, name)


def _put_across(stored: Path, folder_fd: int, name: str) -> None:
    """The same where the folder is on another file system: whole under another name first."""
    beside = durable.temporary_beside(Path(name)).name
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with (
            stored.open("rb") as source,
            os.fdopen(os.open(beside, flags, _MODE, dir_fd=folder_fd), "wb") as to,
        ):
            shutil.copyfileobj(source, to)
        os.replace(beside, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        os.unlink(beside, dir_fd=folder_fd)
        raise
