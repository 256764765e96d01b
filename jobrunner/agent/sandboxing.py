"""Asking for a sandbox, and what it means for an attempt when there is none to be had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from jobrunner.agent.dispatch import Desk
from jobrunner.agent.outcome import end
from jobrunner.executors.base import ActionRun, Executor, SandboxRefused
from jobrunner.sync.vocabulary import Reason

_SITE_POLICY_DETAILS: Final = frozenset({"sandbox", "runtime"})
_CLEAN_UP_PATIENCE_S: Final = 30.0


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


def prepare(executor: Executor, desk: Desk, run: ActionRun) -> None:
    """Have everything made that the run needs. Raises as base.Executor does."""
    try:
        executor.prepare(run)
    except SandboxRefused as refused:
        # What is missing may be the disk of one that has ended, and is just being removed.
        if refused.detail != "disk_low" or not desk.wait_left(_CLEAN_UP_PATIENCE_S):
            raise
        executor.prepare(run)
