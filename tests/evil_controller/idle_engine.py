"""An engine that has every image and runs nothing: its container goes on until it is stopped.

It meets the contract of `executors/base.py`, for tests of what the agent does around a job.
"""

import threading
import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from jobrunner.executors.base import ActionRun, EngineError, Exit, Found, Limits

RECORD: Final = "engine.log"
"""Beside the policy of an agent as a process: what its engine was asked for, a line for each."""
TROUBLE: Final = "ENGINE_TROUBLE"
"""Environment variable of such a process: what goes wrong with each log."""


class IdleEngine:
    """With `stuck` nothing ever ends, stopping least of all.

    What it is asked to make and to start is written to `record`, where there is one, before anything else.
    With `trouble` a log cannot be had, for this reason.
    """

    def __init__(self, record: Path | None = None, *, stuck: bool = False, trouble: str = "") -> None:
        self._trouble = trouble
        self._record = record
        self._stuck = stuck
        self._stopped: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def _event(self, run: ActionRun) -> threading.Event:
        with self._lock:
            return self._stopped.setdefault(run.name, threading.Event())

    def _write(self, word: str, run: ActionRun) -> None:
        if self._record is not None:
            with self._record.open("a") as record:
                record.write(f"{word} {run.name}\n")

    def image_present(self, image_id: str) -> bool:
        return image_id.startswith("sha256:")

    def image_size(self, image_id: str) -> int | None:
        return 1 if image_id.startswith("sha256:") else None

    def engine_version(self) -> str:
        return "idle"

    def prepare(self, run: ActionRun) -> None:
        self._write("make", run)
        self._event(run)

    def start(self, run: ActionRun) -> None:
        self._write("start", run)
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
        del destination, limit
        if self._trouble:
            raise EngineError(f"no log of {run.name}: {self._trouble}")

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
