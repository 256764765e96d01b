"""Asking for a sandbox, and what it means for an attempt when there is none to be had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from jobrunner.agent.dispatch import Desk
from jobrunner.agent.outcome import end
from jobrunner.executors.base import SandboxRefused
from jobrunner.study import Stop
from jobrunner.sync.vocabulary import Reason

_SITE_POLICY_DETAILS: Final = frozenset({"sandbox", "runtime"})
# The kernel may first write gigabytes that a job left in its cache. Who waits costs his own place only; who
# gave up would fail for what another did.
_CLEAN_UP_PATIENCE_S: Final = 3600.0


class Again(Exception):
    """The step must be made again from its beginning, with all of its checks."""


@contextmanager
def sandboxed(halt: Callable[[str], None]) -> Iterator[None]:
    """Turn a sandbox that is refused within the block into the end of the attempt, raising Ended.

    `halt` is told of one that no other attempt could have either.
    """
    try:
        yield
    except SandboxRefused as refused:
        if refused.detail in _SITE_POLICY_DETAILS:
            halt(refused.message)
            raise end(Reason.SITE_POLICY, refused.detail, refused.message) from refused
        if refused.detail == "volume":
            raise end(Reason.IMAGE_NOT_ALLOWED, refused.detail, refused.message) from refused
        raise end(Reason.INTERNAL_ERROR, refused.detail, refused.message) from refused


@contextmanager
def asking_for_room(desk: Desk, stop: Stop) -> Iterator[None]:
    """Raise Again where there was no room for a disk within the block, but somebody has gone since it began.

    What is missing may be the disk of one that has ended, and is just being removed: it is waited for.
    Raises Stopped.
    """
    gone = desk.gone
    try:
        yield
    except SandboxRefused as refused:
        if refused.detail == "disk_low" and desk.wait_gone(gone, stop, _CLEAN_UP_PATIENCE_S):
            raise Again from refused
        raise
