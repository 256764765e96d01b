"""Programs of the demo: what they are started with, and that a dead one is noticed."""

import os
import sys
import time
from pathlib import Path

import pytest

from jobrunner.demo import programs
from jobrunner.demo.folder import DemoProblem

pytestmark = pytest.mark.unit


@pytest.fixture
def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a command are a Python program instead."""
    monkeypatch.setattr(programs, "_COMMAND", (sys.executable, "-c"))


def test_settings_of_the_caller_do_not_reach_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_CONTROLLER_DATA", "/srv/real")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "other")
    env = programs.environment(JOBRUNNER_URL="http://127.0.0.1:1")
    assert {name for name in env if name.startswith(("JOBRUNNER_", "DJANGO_"))} == {"JOBRUNNER_URL"}


@pytest.mark.slow
def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(DemoProblem, match=r"`jobrunner agent run` failed: .*agent\.toml"):
        programs.run(["agent", "run", "/nonexistent/agent.toml"], programs.environment())


@pytest.mark.usefixtures("as_python")
def test_a_program_that_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from yesterday\n")
    program = programs.Program("agent", ["print('last words'); raise SystemExit(3)"], {}, log)
    assert os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT) is not None
    with pytest.raises(DemoProblem, match=r"status 3.*\nlast words$"):
        program.require_running()


@pytest.mark.usefixtures("as_python")
def test_stop_ends_one_that_will_not(tmp_path: Path) -> None:
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    program = programs.Program("agent", [text], {}, tmp_path / "log")
    deadline = time.monotonic() + 20
    while program.tail() != "on" and time.monotonic() < deadline:
        time.sleep(0.02)
    began = time.monotonic()
    program.stop((0.1, 0.1))
    assert 0.2 <= time.monotonic() - began < 10
    with pytest.raises(DemoProblem, match="status -9"):
        program.require_running()


@pytest.mark.usefixtures("as_python")
def test_watch_ends_when_another_program_does(tmp_path: Path) -> None:
    other = programs.Program("controller", ["pass"], {}, tmp_path / "log")
    began = time.monotonic()
    with pytest.raises(DemoProblem, match="controller ended"):
        programs.watch(["import time; time.sleep(60)"], {}, (other,), 30)
    assert time.monotonic() - began < 20
    other.stop((1.0,))


@pytest.mark.usefixtures("as_python")
def test_watch_gives_up_at_its_limit() -> None:
    with pytest.raises(DemoProblem, match="not done after"):
        programs.watch(["import time; time.sleep(60)"], {}, (), 0.3)
