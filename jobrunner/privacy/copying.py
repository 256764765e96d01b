"""Copying one open file into a folder of our own, hashed in the same pass: threats.md section 4 item 7."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_WRITE_BACK_EVERY = 32 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Changed(Exception):
    """The source did not stay as it was while it was read."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was stored: hash and size in bytes, and the stored file's own device, inode and mtime (ns)."""

    sha256: str
    size: int
    device: int
    inode: int
    mtime_ns: int


def copy_hashed(source_fd: int, destination: Path, keep_going: Callable[[], None]) -> Copied:
    """Copy the regular file `source_fd` to `destination`, which must not exist, with mode 0444.

    The folder of `destination` must exist. `keep_going` is called for each MiB and may raise to stop.
    Raises Changed when the bytes read are not st_size, or size, mtime or link count differ at the end. The
    bytes are on their way to the disk but not yet safe: fsync before relying on them.
    """
    before = os.fstat(source_fd)
    target_fd = os.open(destination, _CREATE, 0o600)
    try:
        digest = hashlib.sha256()
        copied = 0
        while chunk := os.pread(source_fd, _CHUNK, copied):
            keep_going()
            if copied + len(chunk) > before.st_size:
                raise Changed
            digest.update(chunk)
            _write_all(target_fd, chunk)
            copied += len(chunk)
            if copied % _WRITE_BACK_EVERY == 0:
                start_write_back(target_fd, copied - _WRITE_BACK_EVERY, _WRITE_BACK_EVERY)
        if copied != before.st_size:
            raise Changed
        after = os.fstat(source_fd)
        if after.st_size != before.st_size:
            raise Changed
        if after.st_mtime_ns != before.st_mtime_ns:
            raise Changed
        if after.st_nlink != 1:
            raise Changed
        os.fchmod(target_fd, 0o444)
        start_write_back(target_fd, 0, 0)
        stored = os.fstat(target_fd)
        return Copied(digest.hexdigest(), copied, stored.st_dev, stored.st_ino, stored.st_mtime_ns)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    finally:
        os.close(target_fd)


def start_write_back(fd: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing now, so that the fsync at the end finds little left to do."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
