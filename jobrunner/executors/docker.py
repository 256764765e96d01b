"""The executor that meets base.Executor with a Docker engine."""

import os
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from jobrunner.executors import disks, engine_call, workspace
from jobrunner.executors.base import (
    JOB_UIDS,
    MIB,
    PROFILE,
    ActionRun,
    ContainerLost,
    EngineError,
    Executor,
    Exit,
    Found,
    Limits,
    SandboxRefused,
)
from jobrunner.executors.engine import Engine, NameTaken, cgroup_is_gone
from jobrunner.executors.workspace import Workspace

# The wait call is renewed this often, so that an engine which went away is noticed.
_LONGEST_WAIT_S: Final = 600.0
# How long the kernel may take to give up the cgroup of a dead container.
_CGROUP_DEADLINE_S: Final = 10.0
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
        # Name and id of containers that this process made, compared with the profile, and did not start yet.
        self._made: dict[str, str] = {}
        # Name and id of those that the engine says are over: they never run again.
        self._ended: dict[str, str] = {}
        self._beside = ThreadPoolExecutor(_PREPARED_AT_ONCE, thread_name_prefix="disk")
        # An id stands for exactly these bytes for ever; that the image is still there, create says.
        self._image_configs: dict[str, Mapping[str, Any]] = {}
        if not self._engine.filters_calls():
            raise SandboxRefused("sandbox", "the engine runs containers without its seccomp list")

    def close(self) -> None:
        """Give the connections to the engine back."""
        self._beside.shutdown()
        self._engine.close()

    def make_ready(self, limits: Limits) -> None:
        """See base.Executor."""
        with _host("make the disk that all others are copies of"):
            disks.make_ready(self._work / "blanks", limits)

    def image_present(self, image_id: str) -> bool:
        """See base.Executor."""
        return self._image_config(image_id) is not None

    def prepare(self, run: ActionRun) -> None:
        """See base.Executor."""
        space = self._space(run.name)
        with _host("prepare the workspace"):
            workspace.claim(space, run)
        # The engine mounts the workspace when it starts the container, so the disk may come last.
        disk = self._beside.submit(workspace.make_disk, space, run)
        try:
            self._engine.make_volume(run.name, workspace.overlay(space, run), run.labels)
            self._make_container(run)
        finally:
            with _host("prepare the workspace"):
                disk.result()

    def start(self, run: ActionRun) -> None:
        """See base.Executor."""
        space = self._space(run.name)
        workspace.claim_uid(space, run)
        if not space.ready.exists():
            raise EngineError(f"{run.name} was not prepared")
        if run.name not in self._made:
            self._make_container(run)
        container = self._made.pop(run.name, None)
        if container is None:
            return
        try:
            # By id: what was compared is what starts.
            self._engine.start(container)
        except SandboxRefused:
            # Only here: after any other error it may have started, and nothing may run twice.
            self._engine.remove(run.name, force=False)
            raise

    def _make_container(self, run: ActionRun) -> None:
        """Have a container that never started and is what the profile asks; leave one that did start."""
        config = self._image_config(run.image_id)
        if config is None:
            raise SandboxRefused("image", f"the engine has no image {run.image_id}")
        if config.get("Volumes"):
            raise SandboxRefused("volume", f"image {run.image_id} declares a VOLUME, which has no size limit")
        body = engine_call.create_body(PROFILE, run, config, self._space(run.name).database_file)
        try:
            made, warnings = self._engine.create(run.name, body)
        except NameTaken:
            if self._was_started(run):
                return
            self._engine.remove(run.name, force=False)
            made, warnings = self._engine.create(run.name, body)
        try:
            self._check_made(made, run, body, config, warnings)
        except SandboxRefused:
            self._engine.remove(run.name, force=False)
            raise
        self._made[run.name] = made

    def _was_started(self, run: ActionRun) -> bool:
        seen = self._engine.inspect(run.name)
        if seen is None:
            return False
        self._check_owner(run, seen)
        return bool(seen["State"]["Status"] != "created")

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        """See base.Executor."""
        over = None if deadline_s is None else _boot_time() + deadline_s
        while True:
            seen = self._engine.inspect(run.name)
            if seen is None or seen["State"]["Status"] == "created":
                raise ContainerLost(f"{run.name} is not there or was never started")
            if not seen["State"]["Running"]:
                if seen["State"]["Pid"] == 0:
                    self._ended[run.name] = seen["Id"]
                return self._exit(run, seen["State"])
            if over is None:
                over = _started(seen["State"]["Pid"]) + run.limits.wall_clock_s
            left = over - _boot_time()
            if left > 0:
                self._engine.wait(run.name, min(left, _LONGEST_WAIT_S))
            else:
                self._space(run.name).late.touch(mode=0o600)
                self.stop(run)

    def stop(self, run: ActionRun) -> None:
        """See base.Executor."""
        if self._engine.inspect(run.name) is None:
            return
        self._engine.stop(run.name, run.limits.stop_s)
        self._check_dead(run)

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int = 20 * MIB) -> None:
        """See base.Executor."""
        kept: deque[bytes] = deque()
        size = 0
        for piece in self._engine.log(run.name):
            kept.append(piece)
            size += len(piece)
            while size - len(kept[0]) >= limit:
                size -= len(kept.popleft())
        if size > limit:
            kept[0] = kept[0][size - limit :]
        if isinstance(destination, int):
            with open(destination, "wb", closefd=False) as file:
                file.writelines(kept)
        else:
            destination.writelines(kept)

    def open_outputs(self, run: ActionRun) -> AbstractContextManager[int]:
        """See base.Executor."""
        self._check_dead(run)
        space = self._space(run.name)
        with _host("make the outputs read-only"):
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
        names.update(self._engine.volumes(agent_id))
        names.update(workspace.owned_by(self._work, agent_id))
        gone = sorted(names.difference(keep))
        failed: list[str] = []
        # All containers first: while one is there, the volume that it uses stays.
        for remove in (self._remove_container, self._remove):
            for name in gone:
                try:
                    remove(name)
                except EngineError as error:
                    # The others must go all the same.
                    failed.append(f"{name}: {error}")
        if failed:
            raise EngineError("; ".join(failed)[:1000])
        return gone

    def _space(self, name: str) -> Workspace:
        return Workspace(self._work, name)

    def _image_config(self, image_id: str) -> Mapping[str, Any] | None:
        if image_id not in self._image_configs:
            image = self._engine.image(image_id)
            if image is None:
                return None
            self._image_configs[image_id] = image.get("Config") or {}
        return self._image_configs[image_id]

    def _check_made(
        self,
        made: str,
        run: ActionRun,
        body: Mapping[str, Any],
        config: Mapping[str, Any],
        warnings: list[str],
    ) -> None:
        if warnings:
            raise SandboxRefused("sandbox", f"the engine warns: {'; '.join(warnings)[:1000]}")
        seen = self._engine.inspect(made)
        if seen is None:
            raise EngineError(f"{run.name} is gone right after it was created")
        wrong = engine_call.differences(PROFILE, body, seen, config, run.name)
        if wrong:
            raise SandboxRefused("sandbox", f"the engine made another container: {'; '.join(wrong)[:1000]}")

    def _check_owner(self, run: ActionRun, seen: Mapping[str, Any]) -> None:
        labels = seen["Config"].get("Labels") or {}
        if any(labels.get(key) != value for key, value in run.labels.items()):
            raise SandboxRefused("sandbox", f"a container {run.name} of somebody else is in the way")
        if seen["Image"] != run.image_id:
            raise SandboxRefused("sandbox", f"container {run.name} runs another image")

    def _check_dead(self, run: ActionRun) -> None:
        container = self._ended.get(run.name)
        if container is None:
            seen = self._engine.inspect(run.name)
            if seen is None:
                return
            if seen["State"]["Running"] or seen["State"]["Pid"]:
                raise EngineError(f"{run.name} still runs")
            container = str(seen["Id"])
        over = time.monotonic() + _CGROUP_DEADLINE_S
        while not cgroup_is_gone(container):
            if time.monotonic() > over:
                raise EngineError(f"{run.name} ended, but its cgroup is still there")
            time.sleep(0.01)

    def _exit(self, run: ActionRun, state: Mapping[str, Any]) -> Exit:
        space = self._space(run.name)
        status = int(state["ExitCode"])
        late = space.late.exists()
        return Exit(
            status=status,
            # The engine's flag also stands when only a child was killed and the job went on well.
            out_of_memory=bool(state["OOMKilled"]) and status != 0 and not late,
            out_of_time=late,
            out_of_disk=status != 0 and not late and workspace.is_full(space),
            started=_seconds(state["StartedAt"]),
            finished=_seconds(state["FinishedAt"]),
        )

    def _remove_container(self, name: str) -> None:
        self._engine.remove(name, force=True)

    def _remove(self, name: str) -> None:
        self._made.pop(name, None)
        self._ended.pop(name, None)
        self._remove_container(name)
        space = self._space(name)
        with _host("remove the workspace"):
            workspace.unmount_overlay(space)
        self._engine.remove_volume(name)
        with _host("remove the workspace"):
            workspace.clean_up(space)


def _boot_time() -> float:
    """Seconds since the host started, sleep included; nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _started(pid: int) -> float:
    """When the process started, in boot time (proc(5), field 22 of stat)."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _boot_time()  # it has just ended; the next look will say so
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def _seconds(engine_time: str) -> int:
    """Seconds since 1970 of the engine's RFC 3339 time with nanoseconds."""
    return int(datetime.fromisoformat(f"{engine_time[:19]}+00:00").timestamp())


@contextmanager
def _host(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"could not {doing}: {error}") from error
