"""From what a job wrote to the stores: collect, check, record, publish (threats.md section 4)."""

from collections.abc import Iterable

from jobrunner.agent import clock
from jobrunner.agent.dispatch import CHECKING_UID
from jobrunner.agent.journal import Attempt
from jobrunner.agent.outcome import Outcome, end
from jobrunner.executors.base import ActionRun, Executor
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.checking import Checker, check_files
from jobrunner.privacy.collect import OutputsMissing, OutputsRefused, collect
from jobrunner.privacy.confined_process import Launcher
from jobrunner.privacy.records import RunFacts, RunInput
from jobrunner.privacy.runs import RunFinished, RunFolder, read_run
from jobrunner.sync.identity import workspace_name
from jobrunner.sync.vocabulary import Reason


class Results:
    """The stores of one site."""

    def __init__(self, areas: Areas, executor: Executor, launcher: Launcher, backend: str) -> None:
        self.areas = areas
        self._executor = executor
        self._launcher = launcher
        self._checker = Checker(launcher, CHECKING_UID, CHECKING_UID)
        self._backend = backend

    def collect(self, attempt: Attempt, run: ActionRun) -> None:
        """Fill and finish the attempt's run folder; a folder that is finished already is left as it is.

        Raises Ended with outputs_missing or outputs_refused.
        """
        try:
            folder = RunFolder.create(self.areas.high, attempt.job_id, attempt.number)
        except RunFinished:
            return
        self._save_log(folder, run)
        facts = attempt.facts
        try:
            with self._executor.open_outputs(run) as root:
                collection = collect(
                    root,
                    [(pattern, level) for pattern, level in facts["patterns"]],
                    into=folder,
                    launcher=self._launcher,
                    uid=run.uid,
                    gid=run.gid,
                    inputs={row[0] for row in facts["inputs"]},
                )
            self.areas.require_free(
                _workspace(attempt),
                attempt.offer.action,
                [file.path for file in collection.files],
                facts["actions"],
            )
        except OutputsMissing as missing:
            raise end(Reason.OUTPUTS_MISSING, "", "\n".join(_missing(missing))) from missing
        except OutputsRefused as refused:
            raise end(Reason.OUTPUTS_REFUSED, "", "\n".join(_refused(refused))) from refused
        _append(folder, collection.notes)
        report = check_files(
            collection.files,
            checker=self._checker,
            log=folder.log,
            log_name=f"metadata/{attempt.offer.action}.log",
            subject={
                "project": attempt.offer.project,
                "workspace": _workspace(attempt),
                "job": attempt.job_id,
                "commit": attempt.offer.commit,
            },
        )
        folder.finish(_facts(attempt, Reason.COMPLETED), collection, report)

    def keep_failure(self, attempt: Attempt, run: ActionRun, outcome: Outcome) -> None:
        """Record an attempt without outputs: its log, with the reason at the end in plain words."""
        try:
            folder = RunFolder.create(self.areas.high, attempt.job_id, attempt.number)
        except RunFinished:
            return
        self._save_log(folder, run)
        _append(folder, [f"{outcome.reason.value}: {line}" for line in outcome.message.splitlines()])
        folder.finish(_facts(attempt, outcome.reason))

    def publish(self, attempt: Attempt) -> None:
        """Make the attempt's outputs the current ones of its workspace.

        Raises Ended with outputs_refused when another action took one of the paths since they were collected.
        """
        record = read_run(self.areas.high, attempt.job_id, attempt.number)
        try:
            self.areas.publish(record, backend=self._backend, actions=attempt.facts["actions"])
        except OutputsRefused as refused:
            raise end(Reason.OUTPUTS_REFUSED, "", "\n".join(_refused(refused))) from refused

    def _save_log(self, folder: RunFolder, run: ActionRun) -> None:
        with folder.log.open("wb") as file:
            self._executor.save_log(run, file, run.limits.log_bytes)


def _workspace(attempt: Attempt) -> str:
    return workspace_name(attempt.offer.project, attempt.offer.repo, attempt.offer.branch)


def _append(folder: RunFolder, lines: Iterable[str]) -> None:
    with folder.log.open("ab") as file:
        file.writelines(f"[jobrunner] {line}\n".encode() for line in lines)


def _missing(missing: OutputsMissing) -> list[str]:
    lines = []
    for pattern in missing.patterns:
        alike = missing.alike.get(pattern, ())
        hint = f" Files that look alike: {', '.join(alike)}." if alike else ""
        lines.append(f"No file matches the output {pattern}.{hint}")
    return [*lines, *missing.oddities]


def _refused(refused: OutputsRefused) -> list[str]:
    return [f"Output {path or '(all)'} was refused: {why}." for path, why in refused.refused]


def _facts(attempt: Attempt, reason: Reason) -> RunFacts:
    offer, facts = attempt.offer, attempt.facts
    return RunFacts(
        job_request=offer.request_id,
        workspace=_workspace(attempt),
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
    )
