"""One job's life: the linear procedure of design.md section 5, resumed at any step after a crash.

Each step may run again from its beginning. It ends by moving the journal on, together with the event that
tells it; a step that raises Ended ends the attempt instead.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from jobrunner.agent import clock
from jobrunner.agent.approving import Approving
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import (
    action_run,
    exit_facts,
    exit_outcome,
    is_database,
    staging_folder,
)
from jobrunner.agent.derive import derive
from jobrunner.agent.dispatch import Closed, Desk
from jobrunner.agent.ended_before import refuse_ended
from jobrunner.agent.first_look import check_offer, intake_end
from jobrunner.agent.halts import refuse_while
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import Ended, Outcome, end, is_incident
from jobrunner.agent.pins import Pins
from jobrunner.agent.policy import Site
from jobrunner.agent.report import Reporter
from jobrunner.agent.results import Results
from jobrunner.agent.reusable import FindSource
from jobrunner.agent.sandboxing import Again, asking_for_room, sandboxed
from jobrunner.agent.site_hook import SiteHook
from jobrunner.agent.tries import check_not_cancelled, given_up, is_hopeless, pause
from jobrunner.executors.base import ActionRun, EngineError, Executor, Limits
from jobrunner.privacy.runs import InputChanged, InputMissing, stage_inputs
from jobrunner.study import GitRules, IntakeError, Stop, Stopped, extract
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage

log = structlog.get_logger()

_DATABASE_PATIENCE_S: Final = 120.0
_STEPS_WITH_CONTAINER: Final = frozenset({Step.START, Step.WAIT, Step.COLLECT})


@dataclass(frozen=True)
class Tools:
    """What the procedure works with; one set for the whole agent."""

    site: Site
    journal: Journal
    desk: Desk
    reporter: Reporter
    approving: Approving
    hook: SiteHook | None
    executor: Executor
    pins: Pins
    find_source: FindSource
    git_rules: GitRules
    limits: Limits
    results: Results
    told: Callable[[bool], None]
    halt: Callable[[str], None]


class Procedure:
    """Runs attempts, each in the thread that calls `run`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._stops: dict[tuple[str, int], Stop] = {}
        self._steps: dict[Step, Callable[[Attempt], None]] = {
            Step.VERIFY: self._verify,
            Step.FETCH: self._fetch,
            Step.STAGE: self._stage,
            Step.START: self._start,
            Step.WAIT: self._wait,
            Step.COLLECT: self._collect,
            Step.DELIVER: self._deliver,
            Step.CLEAN_UP: self._clean_up,
        }

    def run(self, job_id: str, number: int) -> None:
        """Take an attempt from the step it is at to its end; returns when nothing of it is left.

        Whatever goes wrong, the attempt stays this thread's: a slot is free only when it is done. The one
        exception is an attempt that waits for a database place when the agent drains: it is left as it is.
        """
        stop = self._stops[job_id, number] = Stop()
        try:
            self._run(job_id, number, stop)
        finally:
            del self._stops[job_id, number]

    def _run(self, job_id: str, number: int, stop: Stop) -> None:
        failures = 0
        while True:
            try:
                if self._is_over(job_id, number, failures):
                    return
                failures = 0
            except Exception as problem:
                # Nothing that one job meets may end the thread, and with it the site's hold on the job.
                failures += 1
                log.warning("step_failed", job=job_id, attempt=number, tries=failures, exc_info=problem)
                pause(failures, stop)

    def _is_over(self, job_id: str, number: int, failures: int) -> bool:
        """Do the step that the attempt is at; True when there is none left."""
        attempt = self._tools.journal.get(job_id, number)
        if attempt is None or attempt.step in (Step.DONE, Step.ACCEPT):
            return True
        try:
            if attempt.step is not Step.CLEAN_UP:
                self._check_wanted(attempt)
            self._steps[attempt.step](attempt)
        except Ended as ended:
            self._end(attempt, ended.outcome)
        except (Stopped, Again):
            # Why it stopped stands in the journal, which is looked at before anything else is done.
            return False
        except Closed:
            log.info("left", job=job_id, attempt=number, step=attempt.step)
            return True
        except Exception as problem:
            if not is_hopeless(attempt, problem, failures):
                raise
            log.exception("given_up", job=job_id, attempt=number, step=attempt.step)
            self._end(attempt, given_up(attempt, problem))
        return False

    def stop(self, job_id: str, number: int) -> None:
        """Have an attempt end that shall not go on, at whatever step it is; why, the journal says already.

        Its own thread does the rest. Returns when its container is dead, if there was one.
        """
        stop = self._stops.get((job_id, number))
        if stop is not None:
            stop.ask()
        failures = 0
        while not self._is_stopped(job_id, number):
            failures += 1
            pause(failures)

    def _is_stopped(self, job_id: str, number: int) -> bool:
        attempt = self._tools.journal.get(job_id, number)
        if attempt is None or attempt.step not in (Step.START, Step.WAIT):
            return True
        try:
            self._tools.executor.stop(self._action_run(attempt))
        except EngineError as problem:
            log.warning("stop_failed", job=job_id, attempt=number, problem=str(problem))
            return False
        return True

    # --- steps ---

    def _check_wanted(self, attempt: Attempt) -> None:
        if attempt.superseded and attempt.step is not Step.DELIVER:
            raise end(Reason.INTERNAL_ERROR, "lost", "A newer attempt of this job exists.")
        if attempt.boot_id != clock.boot_id() and not self._tools.results.is_kept(attempt):
            raise end(Reason.INTERNAL_ERROR, "lost", "The machine was started anew while this attempt ran.")
        if attempt.facts.get("conflict"):
            raise end(
                Reason.SITE_POLICY,
                "malformed",
                "This job came before with another commit, branch or repository.",
            )
        if attempt.cancel is not None and attempt.step is not Step.DELIVER:
            raise end(attempt.cancel, "", "Somebody asked for this attempt to stop.")

    def _verify(self, attempt: Attempt) -> None:
        tools, offer = self._tools, attempt.offer
        refuse_ended(tools.journal, attempt)
        check_offer(offer, tools.site.policy.projects, tools.git_rules)
        payload, digest = tools.approving.first(offer)
        if tools.hook is not None:
            tools.hook.ask(attempt, payload, digest, self._stops[attempt.key])
        tools.journal.accept_approval(payload.project, payload.serial, digest)
        tools.journal.advance(attempt, Step.FETCH)

    def _fetch(self, attempt: Attempt) -> None:
        tools, offer, stop = self._tools, attempt.offer, self._stops[attempt.key]
        try:
            pin = tools.pins.pin(offer, stop)
            find_source = partial(tools.find_source, offer.request_id, stop=stop)
            derived = derive(pin.pipeline_file, offer.action, tools.site.policy, find_source)
            if derived.dataset is not None:
                tools.approving.check(offer, derived.dataset)
            code = derived.source.commit if derived.source else pin.commit
            tree = extract(code, tools.site.cache / "trees", tools.git_rules, stop)
        except IntakeError as error:
            tools.pins.forget(offer)
            raise intake_end(error) from error
        if not tools.executor.image_present(derived.image_section.id):
            raise end(
                Reason.INTERNAL_ERROR,
                "image",
                f"The engine has no image {derived.image_section.id} for {derived.image}; load it.",
            )
        tools.journal.advance(
            attempt,
            Step.STAGE,
            facts={
                "tree": code.tree,
                "code": derived.source.place if derived.source else None,
                "tree_folder": str(tree),
                "image_id": derived.image_section.id,
                "entrypoint": derived.image_section.entrypoint,
                "argv": derived.argv,
                "needs": derived.needs,
                "patterns": derived.patterns,
                "environment": derived.image_section.environment,
                "actions": derived.actions,
                "dataset": derived.dataset,
            },
        )

    def _stage(self, attempt: Attempt) -> None:
        tools = self._tools
        if is_database(attempt):
            self._take_database_place(attempt)
        runs = [tools.results.current_run(attempt, need) for need in attempt.facts["needs"]]
        try:
            staged = stage_inputs(runs, staging_folder(tools.site, attempt))
        except InputMissing as error:
            raise end(Reason.INTERNAL_ERROR, "input_missing", str(error)) from error
        except InputChanged as error:
            raise end(Reason.INTERNAL_ERROR, "input_changed", str(error)) from error
        inputs = [[one.path, one.sha256, one.action, one.job_id, one.attempt] for one in staged.files]
        tools.journal.advance(attempt, Step.START, facts={"inputs": inputs})

    def _take_database_place(self, attempt: Attempt) -> None:
        """Only the commit says that this is a database action: an offer of it may have come as anything."""
        tools = self._tools
        if tools.desk.places().database == 0:
            raise end(Reason.DATABASE_NOT_ALLOWED, "image", "This site has no database for actions any more.")
        if not tools.desk.take_database(
            attempt.facts["slot"], self._stops[attempt.key], _DATABASE_PATIENCE_S
        ):
            raise end(
                Reason.INTERNAL_ERROR,
                "database",
                "All database places (database.slots) were busy while this job kept others from starting.",
            )

    def _start(self, attempt: Attempt) -> None:
        tools = self._tools
        refuse_while(tools.desk.halts)
        run = self._action_run(attempt)
        # The approval is looked at again while the workspace is made; nothing starts before both.
        approved = tools.approving.begin(attempt.offer, attempt.facts.get("dataset"))
        with sandboxed(tools.halt), asking_for_room(tools.desk, self._stops[attempt.key]):
            tools.executor.prepare(run)
        approved.result()
        # Who asked to stop it found nothing that ran; who asks from now on finds it, or the wait does.
        self._stops[attempt.key].check()
        with sandboxed(tools.halt):
            tools.executor.start(run)
        begun = clock.now()
        tools.journal.advance(
            attempt,
            Step.WAIT,
            facts={"begun": begun},
            event=tools.reporter.stage(*attempt.key, Stage.EXECUTING, begun),
        )
        tools.told(False)

    def _wait(self, attempt: Attempt) -> None:
        tools, run = self._tools, self._action_run(attempt)
        tools.results.get_ready(attempt, run)
        done = tools.executor.wait(run)
        self._hold(attempt)
        tools.journal.advance(
            attempt,
            Step.COLLECT,
            facts=exit_facts(done),
            event=tools.reporter.stage(*attempt.key, Stage.COLLECTING, done.finished),
        )
        tools.told(False)

    def _collect(self, attempt: Attempt) -> None:
        tools = self._tools
        approved = tools.approving.begin(attempt.offer, attempt.facts.get("dataset"))
        outcome = exit_outcome(attempt)
        if outcome is not None:
            approved.result()
            raise Ended(outcome)
        still_wanted = partial(check_not_cancelled, tools.journal, attempt, self._stops[attempt.key])
        tools.results.collect(attempt, self._action_run(attempt), approved.result, still_wanted)
        tools.journal.advance(attempt, Step.DELIVER)

    def _deliver(self, attempt: Attempt) -> None:
        tools = self._tools
        outcome = Outcome(ExitClass.SUCCEEDED, Reason.COMPLETED)
        if attempt.superseded:
            published = "published" in attempt.facts
            if not published:
                job, number = attempt.key
                why = "The controller called this attempt stale with whole outputs; only its run keeps them."
                tools.journal.note(Reason.SITE_POLICY.value, "malformed", why, job_id=job, attempt=number)
            tools.journal.advance(attempt, Step.CLEAN_UP, outcome=outcome if published else None)
            return
        tools.results.publish(attempt)
        tools.journal.advance(attempt, Step.DELIVER, facts={"published": True})
        self._hold(attempt)
        tools.journal.advance(
            attempt,
            Step.CLEAN_UP,
            outcome=outcome,
            event=tools.reporter.ended(
                *attempt.key,
                outcome,
                started=attempt.facts["started"],
                finished=attempt.facts["finished"],
            ),
        )
        tools.told(True)
        log.info("succeeded", job=attempt.job_id, attempt=attempt.number)

    def _clean_up(self, attempt: Attempt) -> None:
        tools = self._tools
        tools.desk.leave(attempt.facts["slot"])
        tools.results.forget(attempt)
        if "image_id" in attempt.facts:
            tools.executor.clean_up(self._action_run(attempt))
        shutil.rmtree(staging_folder(tools.site, attempt), ignore_errors=True)
        tools.journal.advance(attempt, Step.DONE)

    # --- ends ---

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        """The attempt ends without outputs: keep log and record if it ran, tell it, then clean up."""
        tools = self._tools
        log.info(
            "ended",
            job=attempt.job_id,
            attempt=attempt.number,
            exit_class=outcome.exit_class,
            reason=outcome.reason,
            detail=outcome.detail,
            message=outcome.message,
        )
        if attempt.step in _STEPS_WITH_CONTAINER:
            self._keep_failure(attempt, outcome)
        if attempt.step in (*_STEPS_WITH_CONTAINER, Step.DELIVER):
            self._hold(attempt)
        event = None
        if not attempt.superseded:
            event = tools.reporter.ended(
                *attempt.key,
                outcome,
                started=attempt.facts.get("started", attempt.facts.get("begun")),
                finished=attempt.facts.get("finished"),
            )
        tools.journal.advance(attempt, Step.CLEAN_UP, outcome=outcome, event=event)
        if is_incident(outcome):
            tools.journal.note(
                outcome.reason.value,
                outcome.detail,
                outcome.message,
                job_id=attempt.job_id,
                attempt=attempt.number,
            )
        tools.told(True)

    def _keep_failure(self, attempt: Attempt, outcome: Outcome) -> None:
        """Make sure that nothing runs any more, then keep log and record; an end without a log is an end."""
        run = self._action_run(attempt)
        self._tools.executor.stop(run)
        if attempt.step is Step.START:
            return
        try:
            self._tools.results.keep_failure(attempt, run, outcome)
        except Exception:
            log.exception("log_lost", job=attempt.job_id, attempt=attempt.number)

    def _hold(self, attempt: Attempt) -> None:
        """Wait for the next multiple of the grain: when something leaves tells as much as what it says.

        A cancel from outside does not cut that short, since a job can choose when it ends after one.
        """
        over = time.monotonic() + clock.until_grain(self._tools.site.policy.time_grain_s)
        while (left := over - time.monotonic()) > 0:
            if self._stops[attempt.key].wait(left):
                now = self._tools.journal.get(*attempt.key)
                if now is None or now.cancel is Reason.BY_SITE:
                    return
                time.sleep(min(left, 0.2))

    # --- values ---

    def _action_run(self, attempt: Attempt) -> ActionRun:
        return action_run(self._tools.site, self._tools.limits, attempt)
