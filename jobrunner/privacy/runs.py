"""Run folders: `<high>/runs/<job>/<attempt>/`, and staging of stored outputs as inputs of later jobs.

A run folder is immutable once its metadata.json is there, which is written last (threats.md section 4
item 9). Inputs are hard links to stored files (item 11), so they cost nothing and stay mode 0444.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobrunner.privacy import durable, names, records
from jobrunner.privacy.disclosure.findings import Report
from jobrunner.privacy.logs import log_tail
from jobrunner.privacy.outputs import Collection
from jobrunner.privacy.records import RecordBroken, RunFacts, RunLog, RunOutput, RunRecord
from jobrunner.privacy.verdicts import log_verdict, output_verdict

_JOB_ID = re.compile(r"[a-z2-7]{26}")
_METADATA = "metadata.json"


class RunFinished(Exception):
    """The run folder already has its metadata.json and cannot be written again: read it instead."""


class InputMissing(Exception):
    """An input that is no longer stored, or whose run did not succeed: internal_error (input_missing)."""


class InputChanged(Exception):
    """A stored file that is not the one that was hashed when collected: internal_error (input_changed)."""


class RunFolder:
    """A run folder that is being filled. Make it with `create`."""

    def __init__(self, path: Path, job_id: str, attempt: int) -> None:
        self.path = path
        self.job_id = job_id
        self.attempt = attempt
        self.files = path / "files"
        self.log = path / "log"
        self.findings = path / "findings.json"
        self._files_are_safe = False

    @classmethod
    def create(cls, high: Path, job_id: str, attempt: int) -> "RunFolder":
        """Make the folder of one attempt, or empty the unfinished one that a crash left.

        Raises RunFinished when it is complete, ValueError for a job id or attempt of wrong form.
        """
        folder = cls(run_path(high, job_id, attempt), job_id, attempt)
        folder._require_unfinished()
        if folder.path.exists():
            shutil.rmtree(folder.path)
        durable.make_folders(folder.files, 0o700)
        folder.log.touch(0o600)
        return folder

    @classmethod
    def reopen(cls, high: Path, job_id: str, attempt: int) -> "RunFolder":
        """The unfinished folder of an attempt as it is. Raises RunFinished, FileNotFoundError."""
        folder = cls(run_path(high, job_id, attempt), job_id, attempt)
        folder._require_unfinished()
        if not folder.files.is_dir():
            raise FileNotFoundError(folder.files)
        return folder

    def empty_files(self) -> None:
        """Remove every file collected so far. Raises RunFinished."""
        self._require_unfinished()
        self._files_are_safe = False
        shutil.rmtree(self.files)
        self.files.mkdir(0o700)

    def sync_files(self) -> None:
        """Bring every file collected so far to the disk: something to do while others are not done yet.

        No file may be added afterwards. `finish` does it where nobody did.
        """
        durable.sync_tree(self.files)
        self._files_are_safe = True

    def finish(
        self, facts: RunFacts, collection: Collection | None = None, report: Report | None = None
    ) -> RunRecord:
        """Write everything to disk for good and metadata.json last, and return what it says.

        `collection` is None for an attempt that failed: its run keeps the log and no output. A moderately
        sensitive file that `report` does not pass is excluded. Raises RunFinished.
        """
        self._require_unfinished()
        if collection is None:
            self.empty_files()
        if report is not None:
            # Half of it would do no harm: what has no metadata.json counts for nothing.
            self.findings.unlink(missing_ok=True)
            self.findings.write_bytes(report.to_json())
            self.findings.chmod(0o444)
            durable.sync_file(self.findings)
        checked = {one.path: one for one in report.files} if report else {}
        self.log.chmod(0o444)
        outputs = tuple(
            RunOutput(
                path=file.path,
                level=file.level,
                sha256=file.sha256,
                size=file.size,
                device=file.device,
                inode=file.inode,
                mtime_ns=file.mtime_ns,
                **output_verdict(file, checked.get(file.path)),
            )
            for file in (collection.files if collection else ())
        )
        tail = hashlib.sha256(log_tail(self.log)).hexdigest()
        log = RunLog(_sha256(self.log), self.log.stat().st_size, **log_verdict(report, tail))
        record = RunRecord(self.job_id, self.attempt, facts, log, outputs, self.path)
        if not self._files_are_safe:
            self.sync_files()
        durable.sync_file(self.log)
        durable.sync_file(self.path)
        durable.write_new(self.path / _METADATA, records.dump(record))
        return record

    def _require_unfinished(self) -> None:
        if (self.path / _METADATA).exists():
            raise RunFinished(f"attempt {self.attempt} of job {self.job_id} is already recorded")


def run_path(high: Path, job_id: str, attempt: int) -> Path:
    """Where the run of one attempt lies. Raises ValueError for anything but 26 base32 signs and 1 to 99."""
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError("a job id has 26 signs of a-z and 2-7")
    if not 1 <= attempt <= 99:
        raise ValueError("an attempt is a number from 1 to 99")
    return high / "runs" / job_id / str(attempt)


def read_run(high: Path, job_id: str, attempt: int) -> RunRecord:
    """The record of a finished run. Raises FileNotFoundError when there is none, RecordBroken, ValueError."""
    folder = run_path(high, job_id, attempt)
    record = records.load((folder / _METADATA).read_bytes(), folder)
    if (record.job_id, record.attempt) != (job_id, attempt):
        raise RecordBroken(f"{folder} holds the record of another run")
    return record


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One input. `stored` is the immutable original, for a runtime that takes binds instead of a lower."""

    path: str
    sha256: str
    size: int
    action: str
    job_id: str
    attempt: int
    stored: Path


@dataclass(frozen=True, slots=True)
class StagedInputs:
    """A read-only lower of an overlay at `root`, and what is in it, sorted by path."""

    root: Path
    files: tuple[StagedFile, ...]

    @property
    def paths(self) -> frozenset[str]:
        """The paths of all inputs, as `collect` wants them."""
        return frozenset(file.path for file in self.files)


def stage_inputs(runs: Sequence[RunRecord], destination: Path) -> StagedInputs:
    """Make `destination` a folder of hard links to the stored outputs of `runs`.

    It must be on the file system of the high area; what was there before is removed. Folders are mode 0777,
    so that a job can write beside its inputs in its own layer; files keep 0444. Nothing is read: device,
    inode, size and mtime must be those recorded with the hash. Raises InputMissing and InputChanged.
    """
    if destination.exists():
        shutil.rmtree(destination)
    destination.mkdir(parents=True)
    destination.chmod(0o777)
    staged = []
    for run in runs:
        if not run.succeeded:
            raise InputMissing(f"the run of action {run.facts.action} did not succeed")
        for output in run.outputs:
            _link_input(run, output, destination)
            stored = run.files / output.path
            staged.append(
                StagedFile(
                    output.path, output.sha256, output.size, run.facts.action, run.job_id, run.attempt, stored
                )
            )
    return StagedInputs(destination, tuple(sorted(staged, key=lambda file: file.path)))


def _link_input(run: RunRecord, output: RunOutput, destination: Path) -> None:
    if names.why_refused(output.path) is not None or names.is_reserved(output.path):
        raise InputChanged(f"the record of action {run.facts.action} holds an impossible path")
    target = destination / output.path
    folder = destination
    for part in output.path.split("/")[:-1]:
        folder = folder / part
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o777)
    try:
        os.link(run.files / output.path, target, follow_symlinks=False)
    except FileNotFoundError:
        raise InputMissing(f"an output of action {run.facts.action} is no longer stored") from None
    except FileExistsError:
        raise InputChanged(
            f"action {run.facts.action} and another need have an output of the same path"
        ) from None
    # Looked at through the new name: what was linked is what is compared.
    found = target.lstat()
    recorded = (output.device, output.inode, output.size, output.mtime_ns)
    if (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) != recorded:
        target.unlink()
        raise InputChanged(f"a stored output of action {run.facts.action} is not the one that was collected")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
