"""Copying one open file into a folder of our own, hashed in the same pass: threats.md section 4 item 7."""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

_CHUNK = 1 << 20
_WRITE_BACK_EVERY = 8 << 20
_WRITTEN_BEHIND = 32 << 20
# From this size on the hash is made in a thread of its own, while the bytes are written.
_LARGE = 8 << 20
_CHUNKS_ON_THEIR_WAY = 3
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
        copied = 0
        is_large = before.st_size >= _LARGE
        # The same few buffers again and again: fresh memory for each chunk costs more than its hash.
        buffers = cycle(
            memoryview(bytearray(min(_CHUNK, before.st_size + 1)))
            for _ in range(_CHUNKS_ON_THEIR_WAY + 1 if is_large else 1)
        )
        with _Digest(beside=is_large) as digest:
            while length := os.preadv(source_fd, [buffer := next(buffers)], copied):
                chunk = buffer[:length]
                keep_going()
                if copied + len(chunk) > before.st_size:
                    raise Changed
                digest.update(chunk)
                _write_all(target_fd, chunk)
                copied += len(chunk)
                if copied % _WRITE_BACK_EVERY == 0:
                    # Also what was begun before: written by now, it leaves the memory to what comes next.
                    behind = max(0, copied - _WRITTEN_BEHIND)
                    write_behind(target_fd, behind, copied - behind)
            sha256 = digest.hexdigest()
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
        write_behind(target_fd, 0, 0)
        stored = os.fstat(target_fd)
        return Copied(sha256, copied, stored.st_dev, stored.st_ino, stored.st_mtime_ns)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    finally:
        os.close(target_fd)


class _Digest:
    """The sha256 of bytes in their order; `beside` the caller, on another core, where a thread pays."""

    def __init__(self, *, beside: bool) -> None:
        self._sha256 = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1) if beside else None
        self._given: deque[Future[None]] = deque()

    def __enter__(self) -> "_Digest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def update(self, chunk: memoryview) -> None:
        """Take the next bytes; afterwards only those of the last _CHUNKS_ON_THEIR_WAY are in use."""
        if self._pool is None:
            self._sha256.update(chunk)
            return
        self._given.append(self._pool.submit(self._sha256.update, chunk))
        if len(self._given) > _CHUNKS_ON_THEIR_WAY:
            self._given.popleft().result()

    def hexdigest(self) -> str:
        """Of all that was given."""
        while self._given:
            self._given.popleft().result()
        return self._sha256.hexdigest()


def write_behind(fd: int, offset: int, length: int) -> None:
    """Have the kernel begin to write what is new in this range, and forget what it has written.

    The fsync at the end then finds little left to do, and a large copy does not push all else out of memory.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def _write_all(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]
