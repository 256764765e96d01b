"""When the sandbox is tried: at each start of the agent and once a day; sooner when it did not hold."""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from jobrunner.agent import canary_record
from jobrunner.agent.canary import Verdict, candidates, examine
from jobrunner.agent.canary_record import GOOD_FOR_S
from jobrunner.agent.policy import Site
from jobrunner.executors.base import EngineError, Executor

log = structlog.get_logger()

AGAIN_AFTER_FAILURE_S: Final = 600


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


class CanaryWatch:
    """Tries the sandbox and gives each verdict to `take`; `ask` and `stop` may come from any thread."""

    def __init__(self, site: Site, executor: Executor, take: Callable[[Verdict], None]) -> None:
        self._site = site
        self._executor = executor
        self._take = take
        self._wake = threading.Event()
        self._stopped = False
        self.verdict: Verdict | None = None

    def first(self) -> None:
        """Try it now, as at each start of the agent; the record may do in mode test."""
        self._try(may_trust_record=True)

    def run(self) -> None:
        """Try it again each day, some minutes after it failed, and at once when asked; until stopped."""
        while True:
            held = self.verdict is not None and self.verdict.passed
            self._wake.wait(GOOD_FOR_S if held else AGAIN_AFTER_FAILURE_S)
            self._wake.clear()
            if self._stopped:
                return
            try:
                self._try(may_trust_record=False)
            except Exception:
                # The journal could not be written, for one; what was found is known all the same.
                log.exception("watch_failed")

    def ask(self) -> None:
        """Have it tried now."""
        self._wake.set()

    def stop(self) -> None:
        """Try it no more."""
        self._stopped = True
        self._wake.set()

    def _try(self, *, may_trust_record: bool) -> None:
        verdict = try_sandbox(self._site, self._executor, may_trust_record=may_trust_record)
        try:
            self._take(verdict)
        finally:
            # Afterwards, so that who sees the verdict sees what came of it too.
            self.verdict = verdict
