"""One holder at a time, across threads and processes, for as long as any holder of the descriptor lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import Unreachable

_PAUSE_S = 0.005


@contextlib.contextmanager
def locked(path: Path, deadline: Deadline) -> Iterator[int]:
    """Hold the lock file `path`; yields its descriptor.

    A child that inherits the descriptor keeps the lock if this process dies before the child does.

    Raises:
        Unreachable: somebody else held it until the deadline.
        Stopped: the deadline's stop was asked meanwhile.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                deadline.stop.check()
                if deadline.left <= 0:
                    raise Unreachable(
                        "The same repository is busy with another fetch. It is tried again."
                    ) from None
                deadline.stop.wait(_PAUSE_S)
        yield descriptor
    finally:
        os.close(descriptor)
