"""The containers of attempts at one Docker engine: made, compared with the profile, waited for, removed.

What lies in /workspace, and how it gets there, is not known here; that is what the executors differ in.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from jobrunner.executors import engine_call
from jobrunner.executors.base import (
    ActionRun,
    ContainerLost,
    EngineError,
    Exit,
    SandboxProfile,
    SandboxRefused,
)
from jobrunner.executors.engine import Engine, NameTaken, cgroup_is_gone
from jobrunner.executors.host import boot_time, on_host, started

# The wait call is renewed this often, so that an engine which went away is noticed.
_LONGEST_WAIT_S: Final = 600.0
# How long the kernel may take to give up the cgroup of a dead container.
_CGROUP_DEADLINE_S: Final = 10.0


class Containers:
    """Safe to use from several threads. All calls raise EngineError and SandboxRefused as base.Executor."""

    def __init__(self, engine: Engine, profile: SandboxProfile) -> None:
        self._engine = engine
        self._profile = profile
        # Name and id of containers that this process made, compared with the profile, and did not start yet.
        self._made: dict[str, str] = {}
        # Name and id of those that the engine says are over: they never run again.
        self._ended: dict[str, str] = {}
        # An id stands for exactly these bytes for ever; that the image is still there, create says.
        self._image_configs: dict[str, Mapping[str, Any]] = {}

    def image_config(self, image_id: str) -> Mapping[str, Any] | None:
        """Config of the image; None when the engine never had it."""
        if image_id not in self._image_configs:
            image = self._engine.image(image_id)
            if image is None:
                return None
            self._image_configs[image_id] = image.get("Config") or {}
        return self._image_configs[image_id]

    def make(self, run: ActionRun, workspace: Path, database_file: Path | None = None) -> None:
        """Have a container that never started and is what the profile asks; leave one that did start.

        The folder `workspace` is there; what is mounted on it when the container starts is what the job gets.
        """
        config = self.image_config(run.image_id)
        if config is None:
            raise SandboxRefused("image", f"the engine has no image {run.image_id}")
        if config.get("Volumes"):
            raise SandboxRefused("volume", f"image {run.image_id} declares a VOLUME, which has no size limit")
        body = engine_call.create_body(self._profile, run, config, workspace, database_file)
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

    def start(self, run: ActionRun, workspace: Path, database_file: Path | None = None) -> None:
        """Start what `make` made in this process, or make it first."""
        if run.name not in self._made:
            self.make(run, workspace, database_file)
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

    def wait(
        self, run: ActionRun, deadline_s: float | None, *, late: Path, is_full: Callable[[], bool]
    ) -> Exit:
        """Wait for the end as base.Executor says.

        The file `late` marks a run that was stopped since its time was over. `is_full` tells whether the
        work folder has no room left; it is asked only of a run that failed.
        """
        over = None if deadline_s is None else boot_time() + deadline_s
        while True:
            seen = self._engine.inspect(run.name)
            if seen is None or seen["State"]["Status"] == "created":
                raise ContainerLost(f"{run.name} is not there or was never started")
            if not seen["State"]["Running"]:
                if seen["State"]["Pid"] == 0:
                    self._ended[run.name] = seen["Id"]
                return _exit(seen["State"], late.exists(), is_full)
            if over is None:
                over = started(seen["State"]["Pid"]) + run.limits.wall_clock_s
            left = over - boot_time()
            if left > 0:
                self._engine.wait(run.name, min(left, _LONGEST_WAIT_S))
            else:
                late.touch(mode=0o600)
                self.stop(run)

    def stop(self, run: ActionRun) -> None:
        """End it: TERM, then kill. Returns when it is dead; nothing happens where it is not there."""
        if self._engine.inspect(run.name) is None:
            return
        self._engine.stop(run.name, run.limits.stop_s)
        self.require_dead(run)

    def require_dead(self, run: ActionRun) -> None:
        """Return when no process of the run is left. Raises EngineError while there is one."""
        container = self._ended.get(run.name)
        if container is None:
            seen = self._engine.inspect(run.name)
            if seen is None:
                return
            if seen["State"]["Running"] or seen["State"]["Pid"]:
                raise EngineError(f"{run.name} still runs")
            container = str(seen["Id"])
        over = time.monotonic() + _CGROUP_DEADLINE_S
        with on_host("look for the cgroup of a container"):
            while not cgroup_is_gone(container):
                if time.monotonic() > over:
                    raise EngineError(f"{run.name} ended, but its cgroup is still there")
                time.sleep(0.01)

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int) -> None:
        """Write the last `limit` bytes of stdout and stderr, in order."""
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

    def remove(self, name: str) -> None:
        """Remove the container of this name, running or not; nothing happens where there is none."""
        self._made.pop(name, None)
        self._ended.pop(name, None)
        self._engine.remove(name, force=True)

    def _was_started(self, run: ActionRun) -> bool:
        seen = self._engine.inspect(run.name)
        if seen is None:
            return False
        self._check_owner(run, seen)
        return bool(seen["State"]["Status"] != "created")

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
        wrong = engine_call.differences(self._profile, body, seen, config, run.name)
        if wrong:
            raise SandboxRefused("sandbox", f"the engine made another container: {'; '.join(wrong)[:1000]}")

    def _check_owner(self, run: ActionRun, seen: Mapping[str, Any]) -> None:
        labels = seen["Config"].get("Labels") or {}
        if any(labels.get(key) != value for key, value in run.labels.items()):
            raise SandboxRefused("sandbox", f"a container {run.name} of somebody else is in the way")
        if seen["Image"] != run.image_id:
            raise SandboxRefused("sandbox", f"container {run.name} runs another image")


def _exit(state: Mapping[str, Any], late: bool, is_full: Callable[[], bool]) -> Exit:
    status = int(state["ExitCode"])
    return Exit(
        status=status,
        # The engine's flag also stands when only a child was killed and the job went on well.
        out_of_memory=bool(state["OOMKilled"]) and status != 0 and not late,
        out_of_time=late,
        out_of_disk=status != 0 and not late and is_full(),
        started=_seconds(state["StartedAt"]),
        finished=_seconds(state["FinishedAt"]),
    )


def _seconds(engine_time: str) -> int:
    """Seconds since 1970 of the engine's RFC 3339 time with nanoseconds."""
    return int(datetime.fromisoformat(f"{engine_time[:19]}+00:00").timestamp())
