"""The executor that meets base.Executor with a Docker engine."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from jobrunner.executors import disks, workspace
from jobrunner.executors.base import (
    JOB_UIDS,
    MIB,
    PROFILE,
    ActionRun,
    EngineError,
    Executor,
    Exit,
    Found,
    Limits,
    SandboxRefused,
)
from jobrunner.executors.containers import Containers
from jobrunner.executors.engine import Engine
from jobrunner.executors.host import on_host
from jobrunner.executors.workspace import Workspace

_PREPARED_AT_ONCE: Final = len(JOB_UIDS)


class DockerExecutor(Executor):
    """Runs attempts with the Docker engine of this host. Safe to use from several threads.

    `work` holds the disks of the attempts and belongs to this agent alone. `engine_url` is another engine
    than that of the usual socket.
    Raises SandboxRefused when `work` or the engine cannot be used, EngineError when there is no engine.
    """

    def __init__(self, work: Path, engine_url: str | None = None) -> None:
        workspace.open_work(work)
        self._work = work
        self._engine = Engine(engine_url)
        self._containers = Containers(self._engine, PROFILE)
        self._beside = ThreadPoolExecutor(_PREPARED_AT_ONCE, thread_name_prefix="disk")
        if not self._engine.filters_calls():
            raise SandboxRefused("sandbox", "the engine runs containers without its seccomp list")

    def close(self) -> None:
        """Give the connections to the engine back."""
        self._beside.shutdown()
        self._engine.close()

    def make_ready(self, limits: Limits) -> None:
        """See base.Executor."""
        with on_host("make the disk that all others are copies of"):
            disks.make_ready(self._work / "blanks", limits)

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
        space = self._space(run.name)
        with on_host("prepare the workspace"):
            workspace.claim(space, run)
        # What lies under the folder at the start of the container counts, so the disk may come last.
        disk = self._beside.submit(workspace.make, space, run)
        try:
            self._containers.make(run, space.seen, space.database_file)
        finally:
            with on_host("prepare the workspace"):
                disk.result()

    def start(self, run: ActionRun) -> None:
        """See base.Executor."""
        space = self._space(run.name)
        workspace.claim_uid(space, run)
        if not workspace.is_made(space):
            # Without it the job would write to the host's own disk, with no limit.
            raise EngineError(f"{run.name} was not prepared")
        self._containers.start(run, space.seen, space.database_file)

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        """See base.Executor."""
        space = self._space(run.name)
        return self._containers.wait(
            run, deadline_s, late=space.late, is_full=lambda: workspace.is_full(space)
        )

    def stop(self, run: ActionRun) -> None:
        """See base.Executor."""
        self._containers.stop(run)

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int = 20 * MIB) -> None:
        """See base.Executor."""
        self._containers.save_log(run, destination, limit)

    def open_outputs(self, run: ActionRun) -> AbstractContextManager[int]:
        """See base.Executor."""
        self._containers.require_dead(run)
        space = self._space(run.name)
        with on_host("make the outputs read-only"):
            workspace.freeze(space)
        return workspace.open_upper(space)

    def clean_up(self, run: ActionRun) -> None:
        """See base.Executor."""
        self._remove(run.name)

    def find(self, agent_id: str) -> list[Found]:
        """See base.Executor."""
        return self._engine.containers(agent_id)

    def sweep(self, agent_id: str, keep: Collection[str]) -> list[str]:
        """See base.Executor."""
        names = {found.name for found in self._engine.containers(agent_id)}
        names.update(workspace.owned_by(self._work, agent_id))
        gone = sorted(names.difference(keep))
        failed: list[str] = []
        for name in gone:
            try:
                self._remove(name)
            except EngineError as error:
                # The others must go all the same.
                failed.append(f"{name}: {error}")
        if failed:
            raise EngineError("; ".join(failed)[:1000])
        return gone

    def _space(self, name: str) -> Workspace:
        return Workspace(self._work, name)

    def _remove(self, name: str) -> None:
        self._containers.remove(name)
        space = self._space(name)
        with on_host("remove the workspace"):
            workspace.clean_up(space)
