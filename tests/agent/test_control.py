"""The control socket: a closed list of words, from root alone, and no caller can hold it up for long."""

import os
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobrunner.agent import control
from jobrunner.agent.control import ControlSocket, NoAnswer, NotRunning, Word, say

pytestmark = pytest.mark.http


class Agent:
    """Notes what was said to it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.said: list[Word] = []
        self.socket = ControlSocket(state, {word: lambda word=word: self._answer(word) for word in Word})

    def _answer(self, word: Word) -> dict[str, Any]:
        self.said.append(word)
        return {"heard": word.value}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=str)])
    # Longer than the kernel takes for a socket's address.
    state = tmp_path / ("long-" * 30) / "state"
    state.mkdir(parents=True)
    made = Agent(state)
    yield made
    made.socket.close()
    structlog.reset_defaults()


def talk(agent: Agent, data: bytes) -> bytes:
    """What a caller hears who says this."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        with control._short(agent.state / "control.sock") as address:
            caller.connect(address)
        caller.sendall(data)
        heard = b""
        try:
            while more := caller.recv(100):
                heard += more
        except ConnectionResetError:
            pass
        return heard


@pytest.mark.parametrize("word", list(Word))
def test_each_word_is_answered(agent: Agent, word: Word) -> None:
    assert say(agent.state, word) == {"heard": word.value}
    assert agent.said == [word]


def test_only_its_owner_may_connect(agent: Agent) -> None:
    mode = (agent.state / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_else_is_not_heard_even_where_the_mode_lets_him(agent: Agent) -> None:
    place = agent.state / "control.sock"
    place.chmod(0o666)
    program = (
        "import os, socket, sys\n"
        "caller = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1])\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "caller.connect('control.sock')\n"
        "try:\n"
        "    caller.sendall(b'abort\\n')\n"
        "    print(caller.recv(100))\n"
        "except (ConnectionResetError, BrokenPipeError):\n"
        "    print(b'')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(agent.state)], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout == "b''\n"
    assert agent.said == []
    assert say(agent.state, Word.STATUS) == {"heard": "status"}


@pytest.mark.parametrize(
    "data",
    [b"halt\n", b"DRAIN\n", b"drain abort\n", b"\n", b"\xff\n", b"drain\nabort\n", b"a" * 70_000 + b"\n"],
)
def test_anything_else_is_not_answered(agent: Agent, data: bytes) -> None:
    assert talk(agent, data) == b""
    assert agent.said == []
    assert say(agent.state, Word.STATUS) == {"heard": "status"}


def test_a_caller_that_says_nothing_is_left_at_the_deadline(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_DEADLINE_S", 0.2)
    silent = threading.Thread(target=talk, args=(agent, b"dra"))
    silent.start()
    time.sleep(0.05)
    began = time.monotonic()
    assert say(agent.state, Word.DRAIN) == {"heard": "drain"}
    assert time.monotonic() - began < 1
    silent.join(5)


def test_an_answer_that_fails_takes_nothing_away(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_word: Word) -> dict[str, Any]:
        raise RuntimeError("bug")

    with monkeypatch.context() as patched:
        patched.setattr(agent, "_answer", broken)
        with pytest.raises(NoAnswer):
            say(agent.state, Word.STATUS)
    assert say(agent.state, Word.STATUS) == {"heard": "status"}


def test_without_a_file_descriptor_for_a_while_it_hears_again_afterwards(agent: Agent) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        with control._short(agent.state / "control.sock") as address:
            caller.connect(address)
        caller.sendall(b"sta")
        # It has its own end of this connection by now, and gets no other.
        time.sleep(0.2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            caller.sendall(b"tus\n")
            assert caller.recv(100) == b'{"heard": "status"}\n'
            time.sleep(0.2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert say(agent.state, Word.DRAIN) == {"heard": "drain"}


def test_no_agent_and_one_that_died_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as never:
        say(tmp_path, Word.STATUS)
    assert not never.value.died
    program = (
        "import os, pathlib, sys; from jobrunner.agent.control import ControlSocket\n"
        "ControlSocket(pathlib.Path(sys.argv[1]), {}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    with pytest.raises(NotRunning) as killed:
        say(tmp_path, Word.STATUS)
    assert killed.value.died
    # The next agent takes the place of the dead one, and leaves nothing behind.
    agent = Agent(tmp_path)
    assert say(tmp_path, Word.STATUS) == {"heard": "status"}
    agent.socket.close()
    with pytest.raises(NotRunning) as left:
        say(tmp_path, Word.STATUS)
    assert not left.value.died


def test_once_closed_nobody_waits_at_what_may_be_anothers_socket_by_then(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    made = ControlSocket(tmp_path, {})
    [listening] = set(threading.enumerate()) - before
    time.sleep(0.2)  # it waits for callers by now
    made.close()
    listening.join(5)
    assert not listening.is_alive()
