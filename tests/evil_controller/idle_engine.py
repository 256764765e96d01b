"""An engine that has every image and runs nothing: its container goes on until it is stopped.

It meets the contract of `executors/base.py`, for tests of what the agent does around a job.
"""

import threading
import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import BinaryIO

from jobrunner.executors.base import ActionRun, EngineError, Exit, Found, Limits


class IdleEngine:
    """With `stuck` nothing ever ends, stopping least of all."""

    def __init__(self, *, stuck: bool = False) -> None:
        self._stuck = stuck
        self._stopped: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def _event(self, run: ActionRun) -> threading.Event:
        with self._lock:
            return self._stopped.setdefault(run.name, threading.Event())

    def image_present(self, image_id: str) -> bool:
        return image_id.startswith("sha256:")

    def image_size(self, image_id: str) -> int | None:
        return 1 if image_id.startswith("sha256:") else None

    def engine_version(self) -> str:
        return "idle"

    def prepare(self, run: ActionRun) -> None:
        self._event(run)

    def start(self, run: ActionRun) -> None:
        self._event(run)

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        self._event(run).wait(deadline_s)
        now = int(time.time())
        return Exit(
            status=143, out_of_memory=False, out_of_time=False, out_of_disk=False, started=now, finished=now
        )

    def stop(self, run: ActionRun) -> None:
        if self._stuck:
            threading.Event().wait()
        self._event(run).set()

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int = 0) -> None:
        del run, destination, limit

    def open_outputs(self, run: ActionRun) -> AbstractContextManager[int]:
        raise EngineError(f"{run.name} wrote nothing")

    def clean_up(self, run: ActionRun) -> None:
        self._event(run).set()

    def make_ready(self, limits: Limits) -> None:
        del limits

    def find(self, agent_id: str) -> list[Found]:
        del agent_id
        return []

    def sweep(self, agent_id: str, keep: Collection[str]) -> list[str]:
        del agent_id, keep
        return []
