"""Running the actions of a plan side by side, as far as their needs allow."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from jobrunner.local.action import run_action
from jobrunner.local.bench import Bench
from jobrunner.local.outcome import Cancelled, Outcome
from jobrunner.local.planning import Wish
from jobrunner.local.situation import Situation
from jobrunner.local.staleness import Verdict


class Listener(Protocol):
    """Hears what happens. `stage` is called from several threads."""

    def up_to_date(self, action: str, verdict: Verdict) -> None:
        """The action does not run; its verdict says why."""

    def starts(self, action: str, verdict: Verdict) -> None:
        """The action runs now; its verdict says why."""

    def stage(self, action: str, stage: str) -> None:
        """It is preparing, executing or collecting."""

    def ended(self, outcome: Outcome) -> None:
        """It ended, well or not, or it cannot run since one of its needs failed."""


def run_all_of(
    bench: Bench, situation: Situation, wished: Wish, places: int, listener: Listener
) -> list[Outcome]:
    """Run what must run, `places` at once; returns an outcome for each action that ran or could not.

    An action whose need failed does not run; all others do. When this is interrupted every container is ended
    and nothing of what was running is kept; KeyboardInterrupt goes on to the caller.
    """
    schedule = _Schedule(bench, situation, wished, listener)
    with ThreadPoolExecutor(places, thread_name_prefix="action") as pool:
        try:
            while schedule.fill(pool, places):
                schedule.wait()
        except BaseException:
            bench.stop()
            raise
    return schedule.outcomes


class _Schedule:
    def __init__(self, bench: Bench, situation: Situation, wished: Wish, listener: Listener) -> None:
        self._bench = bench
        self._situation = situation
        self._wished = wished
        self._listener = listener
        self._waiting = list(wished.order)
        self._well: dict[str, bool] = {}
        self._running: dict[Future[Outcome], str] = {}
        self.outcomes: list[Outcome] = []

    def fill(self, pool: ThreadPoolExecutor, places: int) -> bool:
        """Settle or start all that can be; False when nothing runs and nothing is left."""
        moved = True
        while moved:
            moved = False
            for name in list(self._waiting):
                needs = self._situation.pipeline.actions[name].needs
                if len(self._running) >= places or any(need not in self._well for need in needs):
                    continue
                self._waiting.remove(name)
                moved = self._take_up(pool, name, needs) or moved
        return bool(self._running)

    def wait(self) -> None:
        """Until one of those that run has ended."""
        done, _running = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            name = self._running.pop(future)
            try:
                self._end(future.result())
            except Cancelled:
                self._well[name] = False

    def _take_up(self, pool: ThreadPoolExecutor, name: str, needs: Sequence[str]) -> bool:
        """Start the action, or settle it without. True when that may set others free."""
        failed = [need for need in needs if not self._well[need]]
        if failed:
            self._end(
                Outcome(
                    action=name,
                    reason="dependency_failed",
                    message=f"It needs `{failed[0]}`, which did not succeed.",
                )
            )
            return True
        verdict = self._situation.verdict(name, self._wished.options.get(name, ""))
        if not verdict.runs:
            self._well[name] = True
            self._listener.up_to_date(name, verdict)
            return True
        self._listener.starts(name, verdict)
        stage = self._listener.stage
        future = pool.submit(run_action, self._bench, self._situation, name, lambda word: stage(name, word))
        self._running[future] = name
        return False

    def _end(self, outcome: Outcome) -> None:
        self._well[outcome.action] = outcome.succeeded
        self.outcomes.append(outcome)
        self._listener.ended(outcome)
