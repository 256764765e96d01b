"""A step that takes long or failed: whether it goes on, when it is tried again, and when no more."""

import errno
import time
from typing import Final

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import Outcome, end
from jobrunner.executors.base import ContainerLost
from jobrunner.study import Stop, Stopped
from jobrunner.sync.vocabulary import Reason

_TRIES_OF_A_STEP: Final = 5
_LONGEST_PAUSE_S: Final = 30.0
# What time does not mend: a name or a value that is wrong now is wrong the next time.
_FOR_GOOD: Final = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.ELOOP,
        errno.EINVAL,
        errno.EILSEQ,
        errno.EMLINK,
        errno.EXDEV,
    }
)


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

    What is finished is not given up while publishing it may still come through, and nobody asked for a stop;
    cleaning up goes on until it is through. While a container may run, only its certain loss ends the
    attempt. A full disk passes.
    """
    if attempt.step is Step.CLEAN_UP:
        return False
    if attempt.step is Step.DELIVER:
        if attempt.cancel is not None:
            return True
        return _is_for_good(problem) and failures + 1 >= _TRIES_OF_A_STEP
    if isinstance(problem, ContainerLost):
        return True
    if attempt.step is Step.WAIT or (isinstance(problem, OSError) and problem.errno == errno.ENOSPC):
        return False
    return failures + 1 >= _TRIES_OF_A_STEP


def given_up(attempt: Attempt, problem: Exception) -> Outcome:
    """The end of an attempt whose step is hopeless: lost, or cancelled where publishing was told to stop."""
    message = f"Step {attempt.step.value} failed: {type(problem).__name__}."
    if attempt.step is Step.DELIVER:
        message += f" Its run is kept in the high area: runs/{attempt.job_id}/{attempt.number}."
        if attempt.cancel is not None:
            return end(attempt.cancel, "", message).outcome
    return end(Reason.INTERNAL_ERROR, "lost", message).outcome


def _is_for_good(problem: Exception) -> bool:
    if isinstance(problem, OSError):
        return problem.errno in _FOR_GOOD
    return isinstance(problem, ValueError | LookupError | TypeError)
