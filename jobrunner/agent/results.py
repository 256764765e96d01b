"""From what a job wrote to the stores: collect, check, record, publish (threats.md section 4)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from jobrunner.agent import clock
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import workspace_of
from jobrunner.agent.dispatch import checking_uid_of
from jobrunner.agent.outcome import Outcome, end
from jobrunner.executors.base import ActionRun, Executor
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.checking import Checker, Coming, check_files
from jobrunner.privacy.collect import Collector, CollectorDied, OutputsMissing, OutputsRefused, collect
from jobrunner.privacy.confined_process import Launcher
from jobrunner.privacy.logs import append_ours, mark_look_alikes
from jobrunner.privacy.manifest import ManifestBroken
from jobrunner.privacy.outputs import CollectedFile, Collection
from jobrunner.privacy.records import RecordBroken, RunCode, RunFacts, RunInput, RunRecord
from jobrunner.privacy.runs import RunFinished, RunFolder, read_run
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

_DIED_TWICE: Final = "The work folder could not be walked: write fewer files and folders, with short names."


@dataclass(frozen=True, slots=True)
class Ready:
    """What collecting one attempt needs: its run folder, and the two processes that read what it wrote."""

    folder: RunFolder
    collector: Collector
    checker: Checker

    def stop(self) -> None:
        """End both processes."""
        self.collector.stop()
        self.checker.stop()


class Results:
    """The stores of one site."""

    def __init__(self, areas: Areas, executor: Executor, launcher: Launcher, backend: str) -> None:
        self.areas = areas
        self._executor = executor
        self._launcher = launcher
        self._backend = backend
        self._ready: dict[tuple[str, int], Ready] = {}

    def current_run(self, attempt: Attempt, need: str) -> RunRecord:
        """The run whose outputs a need of this attempt stands for.

        Raises Ended with internal_error (input_missing, input_changed).
        """
        try:
            run = self.areas.current_run(workspace_of(attempt), need)
        except FileNotFoundError:
            run = None
        except (RecordBroken, ManifestBroken) as error:
            raise end(Reason.INTERNAL_ERROR, "input_changed", str(error)) from error
        if run is None:
            raise end(Reason.INTERNAL_ERROR, "input_missing", f"Action {need} has no outputs here.")
        # The name of a workspace is short: what lies there must be of this very project and branch.
        offer = attempt.offer
        if (run.facts.project, run.facts.repo, run.facts.branch) != (offer.project, offer.repo, offer.branch):
            raise end(Reason.INTERNAL_ERROR, "input_missing", "Another project's outputs lie here.")
        return run

    def is_kept(self, attempt: Attempt) -> bool:
        """Whether the attempt's run is whole on the disk, so that even a power cut cost nothing of it."""
        if attempt.step not in (Step.COLLECT, Step.DELIVER):
            return False
        try:
            return read_run(self.areas.high, attempt.job_id, attempt.number).succeeded
        except (FileNotFoundError, RecordBroken):
            return False

    def get_ready(self, attempt: Attempt, run: ActionRun) -> None:
        """Make what collecting will need, while the job runs; nothing of it is read. `forget` must follow.

        What goes wrong here shows when the outputs are collected.
        """
        if attempt.key in self._ready:
            return
        try:
            self._make_ready(attempt, run)
        except (RunFinished, OSError) as problem:
            log.info("not_ready", job=attempt.job_id, attempt=attempt.number, problem=str(problem))

    def _make_ready(self, attempt: Attempt, run: ActionRun) -> Ready:
        folder = RunFolder.create(self.areas.high, attempt.job_id, attempt.number)
        checking_uid = checking_uid_of(attempt.facts["slot"])
        ready = self._ready[attempt.key] = Ready(
            folder,
            Collector(self._launcher, run.uid, run.gid),
            Checker(self._launcher, checking_uid, checking_uid),
        )
        ready.collector.begin()
        ready.checker.begin()
        return ready

    def forget(self, attempt: Attempt) -> None:
        """End the processes that were made for this attempt; nothing happens where there are none."""
        ready = self._ready.pop(attempt.key, None)
        if ready is not None:
            ready.stop()

    def collect(
        self,
        attempt: Attempt,
        run: ActionRun,
        allowed: Callable[[], object],
        still_wanted: Callable[[], object] = lambda: None,
    ) -> None:
        """Fill and finish the attempt's run folder; a folder that is finished already is left as it is.

        `allowed` returns once it is certain that collecting is still allowed, raising Ended when it is not:
        nothing in the workspace is read before. `still_wanted` is called again and again meanwhile, in two
        threads, and may raise to stop. Raises Ended with outputs_missing or outputs_refused.
        """
        try:
            self._collect_once(attempt, run, allowed, still_wanted)
        except CollectorDied as died:
            log.warning("collector_died", job=attempt.job_id, attempt=attempt.number, problem=str(died))
            try:
                self._collect_once(attempt, run, allowed, still_wanted)
            except CollectorDied as again:
                # Twice on the same files: they are why, and internal_error would have the job run again.
                raise end(Reason.OUTPUTS_REFUSED, "", _DIED_TWICE) from again

    def _collect_once(
        self,
        attempt: Attempt,
        run: ActionRun,
        allowed: Callable[[], object],
        still_wanted: Callable[[], object],
    ) -> None:
        try:
            ready = self._ready.get(attempt.key) or self._make_ready(attempt, run)
        except RunFinished:
            return
        try:
            self._fill(attempt, run, ready, allowed, still_wanted)
        finally:
            # Whoever tries again begins with processes of its own, and leaves a finished folder as it is.
            self.forget(attempt)

    def _fill(
        self,
        attempt: Attempt,
        run: ActionRun,
        ready: Ready,
        allowed: Callable[[], object],
        still_wanted: Callable[[], object],
    ) -> None:
        folder = ready.folder
        # The inner block ends what waits for files, also where one of the two threads cannot be had.
        with ThreadPoolExecutor(2) as beside, Coming() as coming:
            saved = beside.submit(self._save_log, folder, run)
            saved.add_done_callback(lambda _saved: coming.put_log())
            report = beside.submit(
                check_files,
                coming,
                checker=ready.checker,
                log=folder.log,
                log_name=f"metadata/{attempt.offer.action}.log",
                subject={
                    "project": attempt.offer.project,
                    "workspace": workspace_of(attempt),
                    "job": attempt.job_id,
                    "commit": attempt.offer.commit,
                },
                still_wanted=still_wanted,
            )
            collection = self._collected(attempt, run, ready, allowed, coming.put, still_wanted)
            saved.result()
            if collection.notes:
                append_ours(folder.log, collection.notes)
                coming.put_log()
            still_wanted()
            folder.sync_files()  # while the last ones are checked
        folder.finish(_facts(attempt, Reason.COMPLETED), collection, report.result())

    def _collected(
        self,
        attempt: Attempt,
        run: ActionRun,
        ready: Ready,
        allowed: Callable[[], object],
        kept: Callable[[CollectedFile], None],
        still_wanted: Callable[[], object],
    ) -> Collection:
        facts = attempt.facts
        try:
            with self._executor.open_outputs(run) as root:
                allowed()
                collection = collect(
                    root,
                    [(pattern, level) for pattern, level in facts["patterns"]],
                    into=ready.folder,
                    collector=ready.collector,
                    inputs={row[0] for row in facts["inputs"]},
                    kept=kept,
                    still_wanted=still_wanted,
                )
            self.areas.require_free(
                workspace_of(attempt),
                attempt.offer.action,
                [file.path for file in collection.files],
                facts["actions"],
            )
        except OutputsMissing as missing:
            raise end(Reason.OUTPUTS_MISSING, "", "\n".join(missing.sentences())) from missing
        except OutputsRefused as refused:
            raise end(Reason.OUTPUTS_REFUSED, "", "\n".join(refused.sentences())) from refused
        return collection

    def keep_failure(self, attempt: Attempt, run: ActionRun, outcome: Outcome) -> None:
        """Record an attempt without outputs: its log, with the reason at the end in plain words."""
        self.forget(attempt)
        try:
            folder = RunFolder.create(self.areas.high, attempt.job_id, attempt.number)
        except RunFinished:
            return
        self._save_log(folder, run)
        append_ours(folder.log, [f"{outcome.reason.value}: {line}" for line in outcome.message.splitlines()])
        folder.finish(_facts(attempt, outcome.reason))

    def publish(self, attempt: Attempt) -> None:
        """Make the attempt's outputs the current ones of its workspace.

        Raises Ended with outputs_refused when another action took one of the paths since they were collected.
        """
        record = read_run(self.areas.high, attempt.job_id, attempt.number)
        try:
            self.areas.publish(record, backend=self._backend, actions=attempt.facts["actions"])
        except OutputsRefused as refused:
            raise end(Reason.OUTPUTS_REFUSED, "", "\n".join(refused.sentences())) from refused

    def _save_log(self, folder: RunFolder, run: ActionRun) -> None:
        with folder.log.open("wb") as file:
            self._executor.save_log(run, file, run.limits.log_bytes)
        mark_look_alikes(folder.log)


def _facts(attempt: Attempt, reason: Reason) -> RunFacts:
    offer, facts = attempt.offer, attempt.facts
    return RunFacts(
        job_request=offer.request_id,
        workspace=workspace_of(attempt),
        project=offer.project,
        repo=offer.repo,
        branch=offer.branch,
        commit=offer.commit,
        tree=facts["tree"],
        action=offer.action,
        image_id=facts["image_id"],
        argv=tuple(facts["argv"]),
        inputs=tuple(RunInput(*row) for row in facts["inputs"]),
        started=facts.get("started", facts.get("begun")),
        finished=facts.get("finished", clock.now()),
        exit_status=facts.get("status"),
        reason=reason.value,
        code=RunCode(**facts["code"]) if facts.get("code") else None,
    )
