"""Two clocks for one piece of work: the site's limit refuses, the caller's only gives up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from jobrunner.study.errors import IntakeError, TreeRefused, Unreachable


@dataclass(frozen=True, slots=True)
class Deadline:
    """The earlier of two moments (seconds of the monotonic clock)."""

    at: float
    is_the_callers: bool

    @classmethod
    def after(cls, limit_s: float, caller_at: float | None) -> Deadline:
        """`limit_s` seconds from now, or the caller's own moment where that is earlier."""
        own = time.monotonic() + limit_s
        if caller_at is not None and caller_at < own:
            return cls(caller_at, True)
        return cls(own, False)

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    def error(self, what: str) -> IntakeError:
        """What to raise when the time is over. The caller's haste says nothing about the study."""
        if self.is_the_callers:
            return Unreachable(f"{what} did not end in the time that was left for it. It is tried again.")
        return TreeRefused("timeout", f"{what} did not end within the site's time limit.")
