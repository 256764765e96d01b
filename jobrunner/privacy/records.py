"""What is written about a run: metadata.json of design.md section 6, as values."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from jobrunner.privacy import documents

SUCCEEDED = "completed"

T = TypeVar("T")


class RecordBroken(Exception):
    """A metadata.json that cannot be read or is not what was written: tell the operator, never guess."""


@dataclass(frozen=True, slots=True)
class RunInput:
    """One file that was staged for a job, pinned by run and hash."""

    path: str
    sha256: str
    action: str
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunOutput:
    """One stored output. Device, inode and mtime are the stored file's, for `stage_inputs` to compare.

    `excluded`: kept out of the medium area, `message` says why in fixed words.
    """

    path: str
    level: str
    sha256: str
    size: int
    device: int
    inode: int
    mtime_ns: int
    row_count: int | None
    col_count: int | None
    excluded: bool
    message: str | None


@dataclass(frozen=True, slots=True)
class RunLog:
    """The log as stored, and whether its last 1 MiB may enter the medium area."""

    sha256: str
    size: int
    excluded: bool
    message: str | None


@dataclass(frozen=True, slots=True)
class RunCode:
    """The reusable action whose code ran: its repository, the tag that the study names, that tag's commit."""

    repo: str
    tag: str
    commit: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the agent knows about an attempt. Times are UTC in whole seconds.

    `tree` is the git tree that the command saw: that of `code` for a reusable action, else that of `commit`.
    `reason` is one of design.md section 5; only `completed` makes a run that can become current.
    `exit_status` is None when the command never ran or gave none.
    """

    job_request: str
    workspace: str
    project: str
    repo: str
    branch: str
    commit: str
    tree: str
    action: str
    image_id: str
    argv: tuple[str, ...]
    inputs: tuple[RunInput, ...]
    started: int | None
    finished: int
    exit_status: int | None
    reason: str
    code: RunCode | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """metadata.json of one attempt. `folder` is where it was read from and is not written."""

    job_id: str
    attempt: int
    facts: RunFacts
    log: RunLog
    outputs: tuple[RunOutput, ...]
    folder: Path = field(compare=False)

    @property
    def succeeded(self) -> bool:
        """Whether this run may become current: completed, with exit status 0."""
        return self.facts.reason == SUCCEEDED and self.facts.exit_status == 0

    @property
    def files(self) -> Path:
        """The folder that holds the outputs."""
        return self.folder / "files"

    @property
    def log_path(self) -> Path:
        """The whole log."""
        return self.folder / "log"


def dump(record: RunRecord) -> bytes:
    """metadata.json: one flat object, keys sorted, UTF-8."""
    content = {
        "schema": 1,
        "job_id": record.job_id,
        "attempt": record.attempt,
        **asdict(record.facts),
        "log": asdict(record.log),
        "outputs": [documents.flat(output) for output in record.outputs],
    }
    return documents.dump(content)


def load(content: bytes, folder: Path) -> RunRecord:
    """The record in `content`. Raises RecordBroken for anything that `dump` would not have written."""
    try:
        data = json.loads(content)
        if data.pop("schema") != 1:
            raise RecordBroken(f"{folder} was written by another version")
        log = _only(RunLog, data.pop("log"))
        outputs = tuple(_only(RunOutput, output) for output in data.pop("outputs"))
        inputs = tuple(_only(RunInput, one) for one in data.pop("inputs"))
        job_id = data.pop("job_id")
        attempt = data.pop("attempt")
        argv = tuple(data.pop("argv"))
        # Records from before there were reusable actions do not have it.
        found = data.pop("code", None)
        code = None if found is None else _only(RunCode, found)
        facts = _only(RunFacts, {**data, "argv": argv, "inputs": inputs, "code": code})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordBroken(f"the metadata.json in {folder} cannot be read") from error
    return RunRecord(job_id, attempt, facts, log, outputs, folder)


def _only(kind: type[T], data: Mapping[str, Any]) -> T:
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    if set(data) != names:
        raise ValueError("unknown or missing fields")
    return kind(**data)
