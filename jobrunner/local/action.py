"""One action: fill its folder, run it in the sandbox, collect, check, and let the outputs land."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jobrunner.executors.base import ActionRun, EngineError, Exit, SandboxRefused
from jobrunner.executors.docker_copy import LocalImage
from jobrunner.executors.ends import fault_of
from jobrunner.local.bench import Bench, new_job_id
from jobrunner.local.causes import Scene, likely_cause
from jobrunner.local.filling import FileChanged, Filled, fill
from jobrunner.local.landing import land, remove_stale
from jobrunner.local.outcome import Outcome
from jobrunner.local.records import Record
from jobrunner.local.situation import Situation
from jobrunner.pipeline import Action
from jobrunner.pipeline.starting import image_name, output_folders
from jobrunner.privacy.alike import shown
from jobrunner.privacy.checking import Checker, Coming, check_files
from jobrunner.privacy.collect import (
    Collector,
    CollectorDied,
    CollectorFailed,
    OutputsMissing,
    OutputsRefused,
    collect,
)
from jobrunner.privacy.disclosure.findings import Report
from jobrunner.privacy.logs import append_ours, log_tail, mark_look_alikes
from jobrunner.privacy.manifest import require_free
from jobrunner.privacy.outputs import Collection
from jobrunner.privacy.runs import RunFolder
from jobrunner.privacy.verdicts import log_verdict, output_verdict

_TAIL_LINES: Final = 15
_SCANNED_BYTES: Final = 64 * 1024

Stage = Callable[[str], None]


class _Failed(Exception):
    """The action ended without outputs, as the agent would say it."""

    def __init__(self, reason: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.status = status


def run_action(bench: Bench, situation: Situation, name: str, stage: Stage) -> Outcome:
    """Run one action whose needs are up to date. `stage` hears preparing, executing, collecting.

    Raises Cancelled, and OSError when the work tree cannot be written.
    """
    began = time.monotonic()
    action = situation.pipeline.actions[name]
    attempt = _Attempt(bench, situation, action, stage)
    with bench.user() as user:
        try:
            return attempt.run(*user, began)
        except _Failed as failed:
            bench.check_wanted()
            record, _why = situation.remembered(name)
            if record is not None:
                situation.state.write(record.failed(failed.reason))
            return attempt.failure(failed, time.monotonic() - began)
        finally:
            attempt.clean_up()


class _Attempt:
    """One try of one action."""

    def __init__(self, bench: Bench, situation: Situation, action: Action, stage: Stage) -> None:
        self._bench = bench
        self._situation = situation
        self._code = situation.code(action.id)
        self._action = self._code.action
        self._stage = stage
        self._folder = RunFolder.create(situation.state.collected, new_job_id(), 1)
        self._filled = Filled()
        self._inputs: Mapping[str, str] = {}
        self._run: ActionRun | None = None

    def run(self, uid: int, gid: int, began: float) -> Outcome:
        """All of it. Raises _Failed, Cancelled."""
        image = self._situation.images[image_name(self._action)]
        if image is None:
            raise _Failed("internal_error", f"There is no image for {image_name(self._action)} here.")
        run = self._prepare(image, uid, gid)
        done = self._execute(run)
        fault = fault_of(done)
        self._stage("collecting")
        if fault is not None:
            self._save_log(run)
            self._bench.check_wanted()
            raise _Failed(fault.reason, fault.message, done.status)
        collection, report = self._collect(run, uid, gid)
        with self._bench.landing:
            return self._keep(image, collection, report, done, time.monotonic() - began)

    def failure(self, failed: _Failed, seconds: float) -> Outcome:
        """What the person is told; the log is kept with the reason at its end."""
        said = log_tail(self._folder.log)[-_SCANNED_BYTES:].decode("utf-8", "replace")
        append_ours(self._folder.log, [f"{failed.reason}: {line}" for line in failed.message.splitlines()])
        scene = Scene(
            root=self._situation.root,
            action=self._action,
            actions=self._situation.pipeline.actions,
            seen=frozenset({*self._filled.hashes, *self._inputs}),
            reason=failed.reason,
            status=failed.status,
            log=said,
        )
        return Outcome(
            action=self._action.id,
            reason=failed.reason,
            message=failed.message,
            cause=likely_cause(scene),
            tail=tuple(said.splitlines()[-_TAIL_LINES:]),
            log=self._keep_log(),
            seconds=seconds,
        )

    def clean_up(self) -> None:
        """Nothing is left of the try but what was kept."""
        if self._run is not None:
            self._bench.executor.clean_up(self._run)
            self._bench.forget(self._run)
        shutil.rmtree(self._folder.path, ignore_errors=True)

    def _prepare(self, image: LocalImage, uid: int, gid: int) -> ActionRun:
        self._stage("preparing")
        action, bench = self._action, self._bench
        name = f"jr-{self._folder.job_id}-1"
        try:
            run = ActionRun(
                agent_id=bench.label,
                job_id=self._folder.job_id,
                attempt=1,
                image_id=image.id,
                entrypoint=image.entrypoint,
                argv=action.command(),
                uid=uid,
                gid=gid,
                tree=bench.executor.folder(name),
                limits=bench.limits,
            )
        except ValueError as error:
            raise _Failed("internal_error", f"It cannot be started: {error}.") from error
        self._run = run
        self._inputs = self._situation.inputs_of(action)
        try:
            self._filled = fill(
                run.tree,
                self._code.files,
                self._situation.root,
                self._inputs,
                output_folders(pattern for pattern, _level in action.patterns()),
                (uid, gid) if os.geteuid() == 0 else None,
            )
            bench.executor.prepare(run)
        except (FileChanged, EngineError, SandboxRefused) as error:
            raise _Failed("internal_error", str(error)) from error
        except OSError as error:
            raise _Failed("internal_error", f"Its folder could not be made: {error}.") from error
        return run

    def _execute(self, run: ActionRun) -> Exit:
        self._stage("executing")
        try:
            self._bench.start(run)
            done = self._bench.executor.wait(run)
        except (EngineError, SandboxRefused) as error:
            self._bench.check_wanted()
            raise _Failed("internal_error", str(error)) from error
        self._bench.check_wanted()
        return done

    def _collect(self, run: ActionRun, uid: int, gid: int) -> tuple[Collection, Report]:
        """As agent/results.py does it: collector and checks side by side."""
        checker = Checker(self._bench.launcher, self._bench.checking_user, self._bench.checking_user)
        collector = Collector(self._bench.launcher, uid, gid)
        try:
            collector.begin()
            checker.begin()
            with ThreadPoolExecutor(1) as beside, Coming() as coming:
                report = beside.submit(
                    check_files,
                    coming,
                    checker=checker,
                    log=self._folder.log,
                    log_name=f"metadata/{self._action.id}.log",
                    subject={"job": run.job_id},
                    still_wanted=self._bench.check_wanted,
                )
                self._save_log(run)
                collection = self._collected(run, collector, coming)
                append_ours(self._folder.log, collection.notes)
            return collection, report.result()
        finally:
            collector.stop()
            checker.stop()

    def _collected(self, run: ActionRun, collector: Collector, coming: Coming) -> Collection:
        try:
            with self._bench.executor.open_outputs(run) as root:
                collection = collect(
                    root,
                    self._action.patterns(),
                    into=self._folder,
                    collector=collector,
                    inputs=self._inputs.keys(),
                    untouched=self._filled.untouched,
                    kept=coming.put,
                    still_wanted=self._bench.check_wanted,
                )
        except OutputsMissing as missing:
            raise _Failed("outputs_missing", "\n".join(missing.sentences()), 0) from missing
        except OutputsRefused as refused:
            raise _Failed("outputs_refused", "\n".join(refused.sentences()), 0) from refused
        except CollectorDied as died:
            raise _Failed("outputs_refused", f"The work folder could not be walked: {died}.", 0) from died
        except (CollectorFailed, EngineError) as error:
            raise _Failed("internal_error", str(error)) from error
        return collection

    def _owned_by_others(self) -> dict[str, dict[str, str]]:
        owned = {}
        for name in self._situation.pipeline.actions:
            record, _why = self._situation.remembered(name)
            if name != self._action.id and record is not None:
                owned.update({path: {"action": name} for path in record.outputs})
        return owned

    def _keep(
        self, image: LocalImage, collection: Collection, report: Report, done: Exit, seconds: float
    ) -> Outcome:
        """Let the outputs land and remember on what they were made. One action at a time."""
        situation, action = self._situation, self._action
        before, _why = situation.remembered(action.id)
        self._bench.check_wanted()
        try:
            require_free(
                {"outputs": self._owned_by_others()},
                action.id,
                [file.path for file in collection.files],
                situation.pipeline.actions.keys(),
            )
            if before is not None:
                # Until the new record is there: outputs of two runs may lie side by side.
                situation.state.write(before.failed("interrupted"))
            land(situation.root, collection.files)
        except OutputsRefused as refused:
            raise _Failed("outputs_refused", "\n".join(refused.sentences()), 0) from refused
        record = self._record(image, collection, report, done)
        kept: Sequence[str] = ()
        if before is not None:
            patterns = [pattern for pattern, _level in (*before.patterns, *record.patterns)]
            kept = remove_stale(
                situation.root, before.outputs, record.outputs, patterns, situation.study.kinds
            )
        situation.state.write(record)
        tail = log_tail(self._folder.log)
        return Outcome(
            action=action.id,
            reason="completed",
            log=self._keep_log(),
            outputs=record.levels,
            refused=record.refused,
            notes=(*collection.notes, *_log_notes(report, tail), *map(_kept_note, kept)),
            seconds=seconds,
        )

    def _record(self, image: LocalImage, collection: Collection, report: Report, done: Exit) -> Record:
        action = self._action
        checked = {one.path: one for one in report.files}
        named = self._code.named
        # What the container saw, whatever the work tree holds by now.
        outputs = {file.path: file.sha256 for file in collection.files}
        hashes = {
            path: digest
            for path, digest in self._filled.hashes.items()
            if path in self._code.hashes and path not in outputs
        }
        return Record(
            action=action.id,
            image=image_name(action),
            image_id=image.id,
            argv=action.command(),
            patterns=action.patterns(),
            needs=tuple(dict.fromkeys(action.needs)),
            inputs=self._inputs,
            named={path: digest for path, digest in hashes.items() if path in named},
            others={path: digest for path, digest in hashes.items() if path not in named},
            outputs=outputs,
            levels={file.path: file.level for file in collection.files},
            refused={
                file.path: str(verdict["message"])
                for file in collection.files
                if (verdict := output_verdict(file, checked.get(file.path)))["excluded"]
            },
            finished=done.finished,
        )

    def _save_log(self, run: ActionRun) -> None:
        try:
            with self._folder.log.open("wb") as file:
                self._bench.executor.save_log(run, file, run.limits.log_bytes)
            mark_look_alikes(self._folder.log)
        except EngineError as error:
            raise _Failed("internal_error", str(error)) from error

    def _keep_log(self) -> str:
        self._situation.state.keep_log(self._action.id, self._folder.log)
        return self._situation.state.log(self._action.id).relative_to(self._situation.root).as_posix()


def _log_notes(report: Report, tail: bytes) -> list[str]:
    verdict = log_verdict(report, hashlib.sha256(tail).hexdigest())
    return [f"Its log would not enter the medium area: {verdict['message']}"] if verdict["excluded"] else []


def _kept_note(path: str) -> str:
    return f"{shown(path)} was an output of an earlier run and was changed by hand since, so it stays."
