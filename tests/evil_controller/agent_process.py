"""The real agent as a process, over an engine that runs nothing.

Usage: agent_process.py POLICY ENGINE, where ENGINE is `idle` or `stuck`. Pauses after failures begin short,
and with `stuck` the time that the process has after a second TERM is two seconds instead of forty.
"""

import sys
from pathlib import Path

from jobrunner.agent import canary_watch, contact, ending, service
from jobrunner.agent.canary import Verdict
from jobrunner.agent.canary_findings import Tried
from jobrunner.agent.policy import Site
from jobrunner.executors.base import Executor
from tests.evil_controller.idle_engine import IdleEngine


def held(site: Site, executor: Executor, *, may_trust_record: bool) -> Verdict:
    """A sandbox in which nothing ever runs holds."""
    del executor, may_trust_record
    return Verdict(
        site.policy.sandbox.runtime, "", 0, (Tried("nothing", "run something", True, "it never ran"),)
    )


def main() -> int:
    """Run it as `jobrunner agent run` does."""
    contact.SHORTEST_PAUSE_S = 0.02
    stuck = sys.argv[2] == "stuck"
    if stuck:
        ending._ABORT_S = 1.0
        ending._LAST_WORDS_S = 1.0
    canary_watch.try_sandbox = held
    service.DockerExecutor = lambda _work: IdleEngine(stuck=stuck)
    return service.serve(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
