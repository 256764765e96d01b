"""`jobrunner agent run` once its words are read: the process that stays for months."""

import sys
from pathlib import Path

from jobrunner.cli.errors import Stop


def run_agent(policy: Path) -> int:
    """Run the agent until it is told to end; returns the exit status. Raises Stop where it cannot start."""
    # structlog brings both along where they are: 5 MiB of which a log of JSON lines has no use.
    for name in ("rich", "greenlet"):
        sys.modules[name] = None  # type: ignore[assignment]

    from jobrunner.agent.journal import JournalProblem
    from jobrunner.agent.policy import PolicyProblem
    from jobrunner.agent.service import AlreadyRunning, serve

    try:
        return serve(policy)
    except (PolicyProblem, JournalProblem, AlreadyRunning) as error:
        raise Stop(f"the agent does not start: {error}") from error
