"""Whether this site may claim jobs: its sandbox, its disks and its clock, each watched by itself.

What is found halts the desk for its cause. The controller hears no more than that nothing is accepted, and
which runtimes are offered.
"""

import threading

import structlog

from jobrunner.agent.canary import Verdict
from jobrunner.agent.canary_watch import CanaryWatch
from jobrunner.agent.halts import Cause
from jobrunner.agent.host_watch import HostWatch
from jobrunner.agent.loops import Shared
from jobrunner.agent.policy import Site
from jobrunner.executors.base import Executor
from jobrunner.sync.vocabulary import Reason, Runtime

log = structlog.get_logger()

_FOLDERS = ("high", "medium", "state", "cache")


class Fitness:
    """The watches of one agent."""

    def __init__(self, site: Site, executor: Executor, shared: Shared) -> None:
        self._shared = shared
        self._runtime = Runtime(site.policy.sandbox.runtime)
        # Without an image nothing can be started, and there is nothing to try the sandbox with.
        self._canary = CanaryWatch(site, executor, self._judge) if site.policy.images else None
        folders = {f"folders.{name}": getattr(site, name) for name in _FOLDERS}
        least = site.policy.host.least_free_percent
        self._host = HostWatch(shared.journal, shared.desk, folders, least)

    def begin(self) -> None:
        """Look at everything now, before anything is claimed or started, and then again and again."""
        if self._canary is not None:
            self._canary.first()
            threading.Thread(target=self._canary.run, name="canary", daemon=True).start()
        self._host.look()
        watch = (self._shared.finished,)
        threading.Thread(target=self._host.run, args=watch, name="host", daemon=True).start()

    def end(self) -> None:
        """Try the sandbox no more; the other watch ends with the loops."""
        if self._canary is not None:
            self._canary.stop()

    def try_again(self) -> None:
        """Have the sandbox tried now."""
        if self._canary is not None:
            self._canary.ask()

    def trust_clock(self) -> None:
        """The operator says that the clock is right as it is."""
        self._host.trust_clock()

    @property
    def verdict(self) -> Verdict | None:
        """What the canary found last; None where it has not been tried."""
        return None if self._canary is None else self._canary.verdict

    def distrust_engine(self, message: str) -> None:
        """A container was not made as it must be. No canary saw that, so none ends it."""
        log.error("halted", cause=Cause.CONTAINER, problem=message)
        sentence = f"{message.rstrip('.')}. Find out why, then start the agent again."
        self._shared.desk.halt(Cause.CONTAINER, sentence)

    def _judge(self, verdict: Verdict) -> None:
        desk = self._shared.desk
        if verdict.passed:
            log.info("sandbox_held", runtime=verdict.runtime, tried=len(verdict.tried))
            if desk.lift(Cause.CANARY):
                self._offer((self._runtime,))
            return
        log.error("halted", cause=Cause.CANARY, problem=verdict.sentence)
        known = desk.halts.get(Cause.CANARY)
        # A runtime that failed is not offered.
        self._offer(())
        desk.halt(Cause.CANARY, verdict.sentence)
        if verdict.sentence != known:
            self._shared.journal.note(Reason.SITE_POLICY.value, "runtime", verdict.sentence)

    def _offer(self, runtimes: tuple[Runtime, ...]) -> None:
        self._shared.hello = self._shared.hello.model_copy(update={"runtimes": runtimes})
