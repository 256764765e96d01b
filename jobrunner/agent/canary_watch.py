"""When the sandbox is tried: at each start of the agent and once a day."""

import threading
from collections.abc import Callable

import structlog

from jobrunner.agent import canary_record
from jobrunner.agent.canary import Verdict, candidates, examine
from jobrunner.agent.canary_record import GOOD_FOR_S
from jobrunner.agent.policy import Site
from jobrunner.executors.base import EngineError, Executor

log = structlog.get_logger()


def try_sandbox(site: Site, executor: Executor, *, may_trust_record: bool) -> Verdict:
    """Examine the sandbox and keep what was found. Never raises.

    With `may_trust_record` a site in mode test takes its record of exactly this sandbox instead, if that is
    less than a day old.
    """
    try:
        about = canary_record.identity(
            candidates(site, executor), executor.engine_version(), site.policy.sandbox.runtime
        )
    except EngineError:
        return examine(site, executor)
    if may_trust_record and site.policy.mode == "test":
        known = canary_record.trusted(site.state, about)
        if known is not None:
            return known
    verdict = examine(site, executor)
    try:
        canary_record.keep(site.state, about, verdict)
    except OSError as problem:
        log.warning("canary_not_kept", problem=str(problem))
    return verdict


def daily(site: Site, executor: Executor, finished: threading.Event, take: Callable[[Verdict], None]) -> None:
    """Try the sandbox again each day until `finished`, and give what was found to `take`."""
    while not finished.wait(GOOD_FOR_S):
        take(try_sandbox(site, executor, may_trust_record=False))
