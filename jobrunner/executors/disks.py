"""Empty disk images for attempts: sparse ext4 files, copies of one that nobody ever mounts.

The file bounds bytes and inodes under every runtime. A disk is used by one attempt and then
deleted; nothing of it ever reaches another one. As copies they share the id of their file system and the
seed of its directories, which tells a job nothing of others.
"""

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobrunner.executors.base import Limits, SandboxRefused

_MKFS_DEADLINE_S: Final = 120


def take(blanks: Path, limits: Limits, destination: Path) -> None:
    """Put an empty disk of this size at `destination`.

    Raises SandboxRefused when the host has no room for a full disk, OSError when it cannot be made.
    """
    # One at a time: two that look for room at the same moment would both find the same.
    with _locked(blanks):
        check_room(destination.parent.parent, limits)
        blank = _blank(blanks, limits)
        half = blanks / f"{destination.parent.name}.new"
        _copy(blank, half)
        half.rename(destination)


def make_ready(blanks: Path, limits: Limits) -> None:
    """Make the blank of this size now. Raises OSError."""
    with _locked(blanks):
        _blank(blanks, limits)


def clear(blanks: Path) -> None:
    """Delete blanks, which another version may have made, and what a killed agent left half made."""
    for file in blanks.iterdir():
        file.unlink()


def check_room(attempts: Path, limits: Limits) -> None:
    """Raise SandboxRefused unless the host could take this disk and all others of `attempts` when full.

    The files are sparse: without this sum many half-empty disks could fill the host together.
    """
    promised = sum(max(0, status.st_size - status.st_blocks * 512) for status in _in_use(attempts))
    free = _free(attempts)
    if promised + limits.disk > free:
        raise SandboxRefused(
            "disk_low",
            f"a disk of {limits.disk} bytes is asked for and {promised} are promised to others, "
            f"but only {free} are free; free some space or lower the disk limit in the site policy",
        )


def room(attempts: Path) -> int:
    """Bytes that all disks of attempts may have together: what is free, and what those there now hold of it.

    `attempts` need not be there yet. Raises OSError.
    """
    held = sum(status.st_blocks * 512 for status in _in_use(attempts))
    return held + _free(next(folder for folder in (attempts, *attempts.parents) if folder.exists()))


def _in_use(attempts: Path) -> Iterator[os.stat_result]:
    for disk in attempts.glob("*/disk.img"):
        try:
            yield disk.stat()
        except FileNotFoundError:
            continue  # its attempt is being cleaned up


def _free(folder: Path) -> int:
    host = os.statvfs(folder)
    return host.f_bavail * host.f_frsize


@contextmanager
def _locked(blanks: Path) -> Iterator[None]:
    lock = os.open(blanks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _blank(blanks: Path, limits: Limits) -> Path:
    blank = blanks / f"{limits.disk}-{limits.inodes}.img"
    if not blank.exists():
        half = blank.with_suffix(".new")
        _make_file_system(half, limits)
        half.rename(blank)
    return blank


def _new_file(path: Path, size: int) -> int:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _copy(blank: Path, path: Path) -> None:
    """Copy what is written of a sparse file: a few hundred KiB, whatever its size."""
    source = os.open(blank, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = _new_file(path, os.fstat(source).st_size)
        try:
            for start, end in _written(source):
                _copy_range(source, target, start, end)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _written(descriptor: int) -> Iterator[tuple[int, int]]:
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # nothing but a hole up to the end
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, end - start, start, start)
        if copied == 0:
            raise OSError(errno.EIO, "the blank disk ended before its time")
        start += copied


def _make_file_system(path: Path, limits: Limits) -> None:
    os.close(_new_file(path, limits.disk))
    command = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", str(limits.inodes)]
    # No journal: a disk that was in use at a power cut is never used again.
    command += ["-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard", str(path)]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_MKFS_DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        path.unlink(missing_ok=True)
        reason = done.stderr.decode(errors="replace").strip()[:500]
        raise OSError(errno.EIO, f"mkfs.ext4 could not make the disk of an attempt: {reason}")
