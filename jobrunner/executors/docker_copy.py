"""The executor of a person's own machine: form `copy` of design.md section 6.

The job's /workspace is a folder made for this attempt alone, which the engine binds into the container. All
other walls are those of the profile, so nothing of the host but this folder is in reach. It needs no root,
only the engine. What this form cannot do: bound the bytes and the number of files in the folder, and mount it
nosuid and nodev. A job has no capability and can get none, so it has no use for either.
"""

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from jobrunner.executors.base import (
    JOB_UIDS,
    MIB,
    PROFILE,
    ActionRun,
    Executor,
    Exit,
    Found,
    Limits,
    SandboxRefused,
    check_mountable,
)
from jobrunner.executors.containers import Containers
from jobrunner.executors.engine import Engine
from jobrunner.executors.host import on_host

# Fewer free blocks than this, and a write of ordinary size has failed.
_FULL_BELOW_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of this machine's engine: its id, and the words that it puts before those of an action."""

    id: str
    entrypoint: tuple[str, ...]


class CopyExecutor(Executor):
    """Runs attempts whose `tree` is `folder(name)`, filled by the caller and given up to the run.

    `inputs` and `folders` of a run are empty: they are part of the tree. There is no database.
    `work` belongs to this caller alone. Raises SandboxRefused when it or the engine cannot be used,
    EngineError when there is no engine.
    """

    def __init__(self, work: Path, engine_url: str | None = None) -> None:
        _open_work(work)
        self._work = work
        self._engine = Engine(engine_url)
        self._containers = Containers(self._engine, PROFILE)
        if not self._engine.filters_calls():
            raise SandboxRefused("sandbox", "the engine runs containers without its seccomp list")

    def close(self) -> None:
        """Give the connections to the engine back."""
        self._engine.close()

    def folder(self, name: str) -> Path:
        """The workspace of the attempt of this name; the caller makes it."""
        return self._work / name / "workspace"

    def image_named(self, name: str) -> LocalImage | None:
        """The image that has this name and tag here; None when none has."""
        image_id = self._engine.id_of(name)
        if image_id is None:
            return None
        config = self._containers.image_config(image_id) or {}
        return LocalImage(image_id, tuple(config.get("Entrypoint") or ()))

    def capacity(self) -> tuple[int, int]:
        """Cores and bytes of memory that the engine has for all its containers."""
        return self._engine.capacity()

    def make_ready(self, limits: Limits) -> None:
        """See base.Executor; there is nothing that could be made ahead."""

    def image_present(self, image_id: str) -> bool:
        """See base.Executor."""
        return self._containers.image_config(image_id) is not None

    def image_size(self, image_id: str) -> int | None:
        """See base.Executor."""
        image = self._engine.image(image_id)
        return None if image is None else int(image["Size"])

    def engine_version(self) -> str:
        """See base.Executor."""
        return self._engine.version()

    def prepare(self, run: ActionRun) -> None:
        """See base.Executor."""
        _check_user(run)
        self._check_folder(run)
        self._containers.make(run, run.tree)

    def start(self, run: ActionRun) -> None:
        """See base.Executor."""
        _check_user(run)
        self._check_folder(run)
        self._containers.start(run, run.tree)

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        """See base.Executor."""
        return self._containers.wait(
            run, deadline_s, late=self._work / run.name / "late", is_full=lambda: _is_full(self._work)
        )

    def stop(self, run: ActionRun) -> None:
        """See base.Executor."""
        self._containers.stop(run)

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int = 20 * MIB) -> None:
        """See base.Executor."""
        self._containers.save_log(run, destination, limit)

    @contextmanager
    def open_outputs(self, run: ActionRun) -> Iterator[int]:
        """See base.Executor. The folder can still be written by its owner, but not by the job any more."""
        self._containers.require_dead(run)
        with on_host("open the outputs"):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.folder(run.name), flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def clean_up(self, run: ActionRun) -> None:
        """See base.Executor."""
        self._remove(run.name)

    def find(self, agent_id: str) -> list[Found]:
        """See base.Executor."""
        return self._engine.containers(agent_id)

    def sweep(self, agent_id: str, keep: Collection[str]) -> list[str]:
        """See base.Executor."""
        names = {found.name for found in self._engine.containers(agent_id)}
        with on_host("look for what was left behind"):
            names.update(entry.name for entry in self._work.iterdir())
        gone = sorted(names.difference(keep))
        for name in gone:
            self._remove(name)
        return gone

    def _check_folder(self, run: ActionRun) -> None:
        if run.tree != self.folder(run.name):
            raise SandboxRefused("sandbox", "the workspace of a run must be its own folder")
        if run.inputs is not None or run.folders:
            raise SandboxRefused("sandbox", "inputs and folders of a run must be in its workspace already")
        if run.database is not None:
            raise SandboxRefused("database", "there is no database on this machine")
        with on_host("look at the workspace"):
            found = run.tree.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise SandboxRefused("sandbox", "the workspace is no folder")
        if found.st_uid != run.uid:
            raise SandboxRefused("sandbox", "the workspace must belong to the user that the run has")

    def _remove(self, name: str) -> None:
        self._containers.remove(name)
        with on_host("remove the workspace"):
            _remove_tree(self._work / name)


def _open_work(work: Path) -> None:
    try:
        check_mountable(work)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = work.lstat()
    except (ValueError, OSError) as error:
        raise SandboxRefused("sandbox", f"the work folder cannot be used: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise SandboxRefused("sandbox", f"{work} is a link; it must be a folder")
    if found.st_uid != os.geteuid():
        raise SandboxRefused("sandbox", f"{work} belongs to somebody else")
    work.chmod(0o700)


def _check_user(run: ActionRun) -> None:
    """The caller's own user, and for root one that nobody else is."""
    if os.geteuid() != 0 and (run.uid, run.gid) != (os.geteuid(), os.getegid()):
        raise SandboxRefused("sandbox", "a run on one's own machine has the user and group of its caller")
    if os.geteuid() == 0 and (run.uid not in JOB_UIDS or run.gid not in JOB_UIDS):
        raise SandboxRefused(
            "sandbox", f"for root a run has a uid and gid from {JOB_UIDS[0]} to {JOB_UIDS[-1]}"
        )
    if 0 in (run.uid, run.gid):
        raise SandboxRefused("sandbox", "a run is never root and never in root's group")


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    # Some file systems have no fixed number of inodes and say 0 for both.
    return disk.f_bavail < _FULL_BELOW_BLOCKS or (disk.f_files > 0 and disk.f_favail == 0)


def _remove_tree(folder: Path) -> None:
    """Remove what a dead run left, also below folders that it closed. Raises OSError."""
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    folder.chmod(0o700)
    for root, folders, _files in os.walk(folder):
        for name in folders:
            below = Path(root, name)
            if not below.is_symlink():
                below.chmod(0o700)
    shutil.rmtree(folder)
