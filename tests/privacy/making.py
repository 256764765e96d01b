"""What the tests of this room share: a work folder that a job wrote, run folders, and publishing."""

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jobrunner.privacy.areas import Areas
from jobrunner.privacy.checking import Checker, CheckLimits, check_files
from jobrunner.privacy.collect import CollectLimits, Collector, collect
from jobrunner.privacy.confined_process import Launcher
from jobrunner.privacy.disclosure.findings import Report
from jobrunner.privacy.outputs import Collection
from jobrunner.privacy.records import RunFacts, RunInput, RunRecord
from jobrunner.privacy.runs import RunFolder

JOB_UID = 200_000
CHECK_UID = 200_001
LAUNCHER = Launcher()
atexit.register(LAUNCHER.stop)
IS_ROOT = os.geteuid() == 0
HIGH, MODERATE = "highly_sensitive", "moderately_sensitive"


def job_id(letter: str = "a") -> str:
    return letter * 26


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def own(folder: Path) -> None:
    """Give everything below a folder to the job's user, as if the job had made it."""
    if not IS_ROOT:
        return
    os.chown(folder, JOB_UID, JOB_UID)
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(Path(parent, name), JOB_UID, JOB_UID, follow_symlinks=False)


def facts(**changes: object) -> RunFacts:
    values: dict[str, object] = {
        "job_request": "r" * 26,
        "workspace": "prj-main-0a1b2c3d",
        "project": "prj",
        "repo": "https://example.org/study",
        "branch": "main",
        "commit": "0" * 40,
        "tree": "1" * 40,
        "action": "model",
        "image_id": "sha256:" + "2" * 64,
        "argv": ("python", "model.py"),
        "inputs": (),
        "started": 1_700_000_000,
        "finished": 1_700_000_100,
        "exit_status": 0,
        "reason": "completed",
    }
    return RunFacts(**{**values, **changes})  # type: ignore[arg-type]


@contextmanager
def collector(uid: int = JOB_UID, limits: CollectLimits | None = None) -> Iterator[Collector]:
    """The process that walks through one work folder."""
    made = Collector(LAUNCHER, uid, uid, limits or CollectLimits())
    try:
        yield made
    finally:
        made.stop()


@dataclass
class Site:
    """A high and a medium area in a temporary folder, and one work folder."""

    root: Path
    work: Path = field(init=False)
    high: Path = field(init=False)
    medium: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.high, self.medium = (self.root / name for name in ("work", "high", "medium"))
        for folder in (self.work, self.high, self.medium):
            folder.mkdir()
        own(self.work)

    @property
    def areas(self) -> Areas:
        return Areas(self.high, self.medium)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for path, content in files.items():
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        own(self.work)

    def folder(self, job: str = "a", attempt: int = 1, log: str = "started\n") -> RunFolder:
        made = RunFolder.create(self.high, job_id(job), attempt)
        made.log.write_text(log)
        return made

    def collect(
        self,
        patterns: Sequence[tuple[str, str]],
        *,
        into: RunFolder | None = None,
        inputs: Sequence[str] = (),
        limits: CollectLimits | None = None,
    ) -> Collection:
        with opened(self.work) as fd, collector(limits=limits) as walker:
            return collect(fd, patterns, into=into or self.folder(), collector=walker, inputs=inputs)

    def run(
        self,
        files: Mapping[str, str | bytes],
        *,
        level: str = MODERATE,
        levels: Mapping[str, str] | None = None,
        job: str = "a",
        attempt: int = 1,
        log: str = "started\n",
        inputs: tuple[RunInput, ...] = (),
        check: bool = True,
        limits: CheckLimits | None = None,
        **changes: object,
    ) -> RunRecord:
        """One whole attempt with these files as its outputs, each under its own name."""
        for old in sorted(self.work.rglob("*"), reverse=True):
            old.rmdir() if old.is_dir() and not old.is_symlink() else old.unlink()
        self.write(files)
        folder = self.folder(job, attempt, log)
        named = levels or {}
        collection = self.collect([(path, named.get(path, level)) for path in files], into=folder)
        report = self.check(collection, folder, limits) if check else None
        return folder.finish(facts(inputs=inputs, **changes), collection, report)

    def check(self, collection: Collection, folder: RunFolder, limits: CheckLimits | None = None) -> Report:
        checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID, limits=limits or CheckLimits())
        try:
            return check_files(collection.files, log=folder.log, checker=checker)
        finally:
            checker.stop()

    def publish(self, record: RunRecord, actions: Sequence[str] | None = None) -> bool:
        return self.areas.publish(record, backend="test", actions=actions)

    def view(self, area: Path, workspace: str = "prj-main-0a1b2c3d") -> dict[str, bytes]:
        """Every file of a workspace view but the manifest."""
        root = area / "workspaces" / workspace
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }


def holds(folder: Path, canary: bytes) -> bool:
    """Whether any file below a folder holds these bytes."""
    return any(canary in path.read_bytes() for path in folder.rglob("*") if path.is_file())
