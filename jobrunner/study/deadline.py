"""When one piece of work ends: the site's limit refuses, the caller's gives up, a stop just ends it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from jobrunner.study.errors import IntakeError, TreeRefused, Unreachable
from jobrunner.study.stop import Stop


@dataclass(frozen=True, slots=True)
class Deadline:
    """The earlier of two moments (seconds of the monotonic clock), and `stop`, which may come before both."""

    at: float
    is_the_callers: bool
    stop: Stop

    @classmethod
    def after(cls, limit_s: float, caller_at: float | None, stop: Stop | None = None) -> Deadline:
        """`limit_s` seconds from now, or the caller's own moment where that is earlier."""
        own = time.monotonic() + limit_s
        stop = stop or Stop()
        if caller_at is not None and caller_at < own:
            return cls(caller_at, True, stop)
        return cls(own, False, stop)

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    def error(self, what: str) -> IntakeError:
        """What to raise when the time is over. The caller's haste says nothing about the study."""
        if self.is_the_callers:
            return Unreachable(f"{what} did not end in the time that was left for it. It is tried again.")
        return TreeRefused("timeout", f"{what} did not end within the site's time limit.")
