"""How it goes with the controller: pauses after calls that failed, and what the operator hears of them."""

import random
from typing import Final

import structlog

from jobrunner.agent import clock
from jobrunner.sync.client import Unanswered

log = structlog.get_logger()

SHORTEST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


class Pause:
    """How long to wait after failures: doubling, with jitter, so that many agents do not knock in step."""

    def __init__(self) -> None:
        self._next = SHORTEST_PAUSE_S

    def reset(self) -> None:
        """The last call was answered."""
        self._next = SHORTEST_PAUSE_S

    def seconds(self) -> float:
        """How long to wait now."""
        wait = self._next * random.uniform(0.5, 1.0)  # noqa: S311 (spreads calls, hides nothing)
        self._next = min(self._next * 2, LONGEST_PAUSE_S)
        return wait


class Contact:
    """When the controller last answered, and what was wrong since; for the site's operator."""

    def __init__(self) -> None:
        self.answered: int | None = None
        self.problem = ""

    def heard(self) -> None:
        """A call was answered."""
        self.answered, self.problem = clock.now(), ""

    def missed(self, call: str, problem: Unanswered) -> None:
        """No usable answer came to a call."""
        log.warning("controller_unanswered", call=call, problem=str(problem))
        self.problem = str(problem)
