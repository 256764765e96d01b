"""Empty disk images for attempts: sparse ext4 files, a few of them made ahead.

The file bounds bytes and inodes under every runtime. A disk is used by one attempt and then
deleted; nothing of it ever reaches another one.
"""

import errno
import fcntl
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobrunner.executors.base import Limits, SandboxRefused

_MKFS_DEADLINE_S: Final = 120


def take(pool: Path, limits: Limits, destination: Path) -> None:
    """Put an empty disk of this size at `destination`, ready made where there is one.

    Raises SandboxRefused when the host has no room for a full disk, OSError when mkfs fails.
    """
    # One at a time: two that look for room at the same moment would both find the same.
    with _locked(pool):
        check_room(destination.parent.parent, limits)
        ready = next(pool.glob(f"{_kind(limits)}-*.img"), None)
        (ready or _make(pool, limits)).rename(destination)


def fill(pool: Path, limits: Limits, count: int) -> None:
    """Make disks ahead until there are `count` of this size. Half-made ones of a killed agent go."""
    for missing in range(count - len(list(pool.glob(f"{_kind(limits)}-*.img")))):
        del missing
        made = _make(pool, limits)
        made.rename(made.with_suffix(".img"))


def drop_half_made(pool: Path) -> None:
    """Delete what a killed agent left half made. Only while nobody makes disks here."""
    for half in pool.glob("*.new"):
        half.unlink(missing_ok=True)


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
def _locked(pool: Path) -> Iterator[None]:
    lock = os.open(pool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _kind(limits: Limits) -> str:
    return f"{limits.disk}-{limits.inodes}"


def _make(pool: Path, limits: Limits) -> Path:
    path = pool / f"{_kind(limits)}-{secrets.token_hex(8)}.new"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, limits.disk)
    finally:
        os.close(descriptor)
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
    return path
