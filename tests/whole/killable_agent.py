"""The real agent, which ends itself with SIGKILL at one point of its journal (threats.md section 7).

Usage: killable_agent.py POLICY POINT FLAG. POINT is `before:STEP` or `after:STEP`, where STEP is the step
that the journal moves to, or `accept`. The file FLAG is made at the kill: the next start lives.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from jobrunner.agent import journal, service
from jobrunner.agent.attempt_rows import Attempt, Step


def _die_at(point: str, flag: Path) -> None:
    def reached(now: str) -> None:
        if now == point and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    advance = journal.Journal.advance
    accepted = journal.Journal.accepted

    def killable_advance(self: journal.Journal, attempt: Attempt, step: Step, **more: Any) -> None:
        reached(f"before:{step.value}")
        advance(self, attempt, step, **more)
        reached(f"after:{step.value}")

    def killable_accepted(self: journal.Journal, *arguments: Any) -> None:
        reached("before:accept")
        accepted(self, *arguments)
        reached("after:accept")

    journal.Journal.advance = killable_advance  # type: ignore[method-assign]
    journal.Journal.accepted = killable_accepted  # type: ignore[method-assign]


if __name__ == "__main__":
    _die_at(sys.argv[2], Path(sys.argv[3]))
    sys.exit(service.serve(Path(sys.argv[1])))
