"""Whose clock a run's time is counted by (threats.md section 8, row S09): one that nobody can set."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import PROFILE
from jobrunner.executors.containers import Containers
from jobrunner.executors.host import boot_time, started
from tests.executors.test_base import RUN

pytestmark = pytest.mark.unit

WHEN = "1970-01-01T00:00:10.5Z"


class OneRun:
    """An engine whose one container is this very process, and ends at the first wait."""

    def __init__(self) -> None:
        self.running = True
        self.stopped = False
        self.waited: list[float] = []

    def inspect(self, _name: str) -> dict[str, Any]:
        state = {
            "Status": "running" if self.running else "exited",
            "Running": self.running,
            "Pid": os.getpid() if self.running else 0,
            "ExitCode": 0,
            "OOMKilled": False,
            "StartedAt": WHEN,
            "FinishedAt": WHEN,
        }
        return {"Id": "0" * 64, "State": state}

    def wait(self, _name: str, seconds: float) -> None:
        self.waited.append(seconds)
        self.running = False

    def stop(self, _name: str, _grace_s: int) -> None:
        self.stopped = True
        self.running = False


@pytest.mark.parametrize("leap_s", [-10 * 86_400, 0, 10 * 86_400])
def test_S09_a_wall_clock_that_is_set_neither_ends_nor_prolongs_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leap_s: int
) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + leap_s)
    assert 0 <= boot_time() - started(os.getpid()) < RUN.limits.wall_clock_s
    engine = OneRun()
    containers = Containers(engine, PROFILE)  # type: ignore[arg-type]
    ended = containers.wait(RUN, None, late=tmp_path / "late", is_full=lambda: False)
    assert (engine.stopped, ended.out_of_time) == (False, False)
    # The engine is asked anew every ten minutes; a shorter wait would be one to a deadline.
    assert engine.waited == [600.0]


def test_S09_twin_a_run_whose_time_is_over_is_stopped(tmp_path: Path) -> None:
    engine = OneRun()
    late = tmp_path / "late"
    containers = Containers(engine, PROFILE)  # type: ignore[arg-type]
    ended = containers.wait(RUN, -1.0, late=late, is_full=lambda: False)
    assert (engine.stopped, ended.out_of_time, late.exists()) == (True, True, True)
