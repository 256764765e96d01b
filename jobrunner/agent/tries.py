"""A step that takes long or failed: whether it goes on, when it is tried again, and when no more."""

import errno
import time
from typing import Final

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.journal import Journal
from jobrunner.executors.base import ContainerLost
from jobrunner.study import Stop, Stopped

_TRIES_OF_A_STEP: Final = 5
_LONGEST_PAUSE_S: Final = 30.0


def pause(failures: int, stop: Stop | None = None) -> None:
    """Sleep after so many failures in a row: 2 s, 4 s, up to 30 s. A stop that comes meanwhile ends it."""
    seconds = min(2.0**failures, _LONGEST_PAUSE_S)
    if stop is None or stop.asked:
        # Asked before this failure: what failed was on the way to the end, and needs its pause too.
        time.sleep(seconds)
    else:
        stop.wait(seconds)


def check_not_cancelled(journal: Journal, attempt: Attempt, stop: Stop) -> None:
    """Raise Stopped when somebody cancelled the attempt.

    One that is superseded is asked to stop too, but what it made is kept (threats.md section 7).
    """
    if stop.asked:
        now = journal.get(*attempt.key)
        if now is not None and now.cancel is not None:
            raise Stopped


def is_hopeless(attempt: Attempt, problem: Exception, failures: int) -> bool:
    """Whether trying this step again makes no sense, so that the attempt ends as lost.

    What is finished is never given up: publishing and cleaning up go on until they are through. While a
    container may run, only its certain loss ends the attempt. A full disk passes.
    """
    if attempt.step in (Step.DELIVER, Step.CLEAN_UP):
        return False
    if isinstance(problem, ContainerLost):
        return True
    if attempt.step is Step.WAIT or (isinstance(problem, OSError) and problem.errno == errno.ENOSPC):
        return False
    return failures + 1 >= _TRIES_OF_A_STEP
