"""The demo stays up without its agent, which an admin may end, and not without its controller."""

import os
import sys
from pathlib import Path

import pytest

from jobrunner.demo import programs
from jobrunner.demo.folder import DemoFolder, Kept
from jobrunner.demo.programs import Program, ProgramEnded
from jobrunner.demo.show import Running

pytestmark = [pytest.mark.unit, pytest.mark.slow]


def program(name: str, text: str, folder: Path) -> Program:
    return Program(name, [text], {}, folder / f"{name}.log")


@pytest.fixture(autouse=True)
def _as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a command are a Python program instead."""
    monkeypatch.setattr(programs, "_COMMAND", (sys.executable, "-c"))


def test_an_agent_may_end_and_is_told_once(tmp_path: Path) -> None:
    agent = program("agent", "raise SystemExit(0)", tmp_path)
    assert os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT) is not None
    # Long enough that the loop has looked at the agent again and again.
    controller = program("controller", "import time; time.sleep(3); print('last words')", tmp_path)
    up = Running(DemoFolder(tmp_path), Kept("demo", 1, 2), controller, agent)
    told: list[ProgramEnded] = []
    with pytest.raises(ProgramEnded, match=r"the controller ended by itself \(status 0\)") as caught:
        up.serve(told.append)
    assert (caught.value.name, [(one.name, one.status) for one in told]) == ("controller", [("agent", 0)])
