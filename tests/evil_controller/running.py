"""Starts the real agent against a controller of a test, and ends exactly that process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.journal import Journal
from tests.evil_controller.idle_engine import RECORD

ROOT = Path(__file__).parents[2]


class RunningAgent:
    """One agent process: its output, its journal, its end."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, state: Path) -> None:
        self.process = process
        self._log = log
        self._state = state

    @property
    def journal(self) -> Journal:
        """The journal, read beside the running agent."""
        return Journal(self._state / "agent.db")

    @property
    def policy(self) -> Path:
        """Its policy file."""
        return self._state.parent / "agent.toml"

    @property
    def containers(self) -> list[str]:
        """What the idle engine was asked to make and to start, in order."""
        record = self._state.parent / RECORD
        return record.read_text().splitlines() if record.exists() else []

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it logged, each line as its values."""
        lines = self._log.read_bytes().splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def said(self, event: str) -> bool:
        """Whether it logged this event."""
        return any(entry.get("event") == event for entry in self.log)

    def wait_until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        """Wait for the condition; fails when the process ends before it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"the agent ended: {self._log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def ended(self, job_id: str, number: int = 1) -> Attempt:
        """The attempt, as soon as it is done."""

        def done() -> bool:
            attempt = self.journal.get(job_id, number)
            return attempt is not None and attempt.step == "done"

        self.wait_until(done)
        found = self.journal.get(job_id, number)
        if found is None:
            raise AssertionError("an attempt that was done is gone")
        return found

    def details(self) -> list[tuple[str, str]]:
        """Reason and detail of all incidents, oldest first."""
        return [(row[3], row[4]) for row in reversed(self.journal.incidents(1000))]

    def terminate(self) -> None:
        """Send TERM once."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def running_agent(
    policy: Path, *, engine: str = "idle", environment: Mapping[str, str] | None = None
) -> Iterator[RunningAgent]:
    """The agent, ready for work; killed at the end if it still runs. `environment` is beside the usual."""
    log = policy.parent / "agent.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.evil_controller.agent_process", str(policy), engine],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    agent = RunningAgent(process, log, policy.parent / "state")
    try:
        agent.wait_until(lambda: agent.said("ready"), 30)
        yield agent
    finally:
        process.kill()
        process.wait()
