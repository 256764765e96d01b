"""Hashes of files as they lie in the work tree. A link is never followed."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from jobrunner.local.study_files import StudyFiles
from jobrunner.privacy.beneath import OPEN_FOLDER, open_beneath
from jobrunner.study.tree import EntryKind


def hash_study(study: StudyFiles, paths: Iterable[str]) -> dict[str, str]:
    """As `hash_files`, for files of a study: there a file that may be executed is another one."""
    found = hash_files(study.root, paths)
    return {path: with_kind(digest, study.kinds[path]) for path, digest in found.items()}


def with_kind(digest: str, kind: EntryKind) -> str:
    """The hash of a file of a study, from that of its content."""
    if kind is not EntryKind.PROGRAM:
        return digest
    return hashlib.sha256(b"program\0" + digest.encode("ascii")).hexdigest()


def hash_files(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """sha256 of each of these paths that is there; a link counts by the text of its target."""
    root_fd = os.open(root, OPEN_FOLDER)
    try:
        found = {path: _hash(root_fd, path) for path in paths}
    finally:
        os.close(root_fd)
    return {path: digest for path, digest in found.items() if digest is not None}


def _hash(root_fd: int, path: str) -> str | None:
    folder, _, name = path.rpartition("/")
    try:
        folder_fd = open_beneath(root_fd, folder, OPEN_FOLDER) if folder else os.dup(root_fd)
    except OSError:
        return None  # it is not there, or only through a link
    try:
        kind = os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode
        if stat.S_ISLNK(kind):
            return hashlib.sha256(b"link\0" + os.fsencode(os.readlink(name, dir_fd=folder_fd))).hexdigest()
        if not stat.S_ISREG(kind):
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=folder_fd), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    finally:
        os.close(folder_fd)
