"""The control socket: how an operator on this machine speaks to the running agent (wall W12 of threats.md).

One word in, one line of JSON out. The words are a closed list; only root and the agent's own user are heard.
"""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog

log = structlog.get_logger()

_NAME: Final = "control.sock"
_DEADLINE_S: Final = 2.0
_AGAIN_S: Final = 0.5
_ANSWER_S: Final = 10.0
_LONGEST_WORD: Final = 16
_LONGEST_ANSWER: Final = 1_000_000
_CREDENTIALS: Final = struct.Struct("iII")


class Word(StrEnum):
    """What can be said to an agent."""

    DRAIN = "drain"
    ABORT = "abort"
    STATUS = "status"
    CANARY = "canary"
    TRUST_CLOCK = "trust-clock"


class NotRunning(Exception):
    """No agent listens there. `died`: one was there and ended without taking its leave."""

    def __init__(self, *, died: bool) -> None:
        super().__init__("no agent runs")
        self.died = died


class NoAnswer(Exception):
    """An agent listens, but did not answer in time, or would not."""


class ControlSocket:
    """The agent's end. `answers` says what each word does; an answer is made of JSON values.

    Only the agent that holds the lock of the state folder may make one: what an older one left is removed.
    """

    def __init__(self, state: Path, answers: Mapping[Word, Callable[[], dict[str, Any]]]) -> None:
        self._answers = answers
        self._closed = threading.Event()
        self._answering = threading.Lock()
        self._place = state / _NAME
        self._place.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with _short(self._place) as address:
            self._listener.bind(address)
            # Before it listens nobody can connect, so nobody does with a wider mode.
            self._place.chmod(0o600)
        self._listener.listen(16)
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def close(self) -> None:
        """Take leave: who waits for the agent's end sees that it ended well.

        What was said to bring the end about is answered first.
        """
        self._closed.set()
        self._place.unlink(missing_ok=True)
        # Who listens closes it: a number closed under a call to accept is soon somebody else's, and so
        # would be the caller.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._answering.acquire(timeout=_DEADLINE_S):
            self._answering.release()

    def _serve(self) -> None:
        with self._listener:
            self._hear()

    def _hear(self) -> None:
        while True:
            try:
                caller, _address = self._listener.accept()
            except OSError as problem:
                if self._closed.is_set():
                    return
                # Such as no file descriptor left for now: the operator must be heard again afterwards.
                log.warning("control_not_heard", problem=str(problem))
                self._closed.wait(_AGAIN_S)
                continue
            with caller, self._answering:
                try:
                    self._answer(caller)
                except Exception as problem:  # noqa: BLE001 (one bad caller must not take the socket away)
                    log.warning("control_failed", problem=f"{type(problem).__name__}: {problem}")

    def _answer(self, caller: socket.socket) -> None:
        caller.settimeout(_DEADLINE_S)
        uid = _peer_uid(caller)
        if uid not in (0, os.geteuid()):
            log.warning("control_refused", uid=uid)
            return
        word = _line(caller, _LONGEST_WORD)
        if word not in frozenset(Word):
            log.warning("control_refused", word=repr(word))
            return
        caller.sendall(json.dumps(self._answers[Word(word)]()).encode() + b"\n")


def say(state: Path, word: Word) -> dict[str, Any]:
    """Say a word to the agent of this state folder; returns its answer. Raises NotRunning, NoAnswer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as caller:
        caller.settimeout(_ANSWER_S)
        try:
            with _short(state / _NAME) as address:
                caller.connect(address)
        except FileNotFoundError as error:
            raise NotRunning(died=False) from error
        except ConnectionRefusedError as error:
            raise NotRunning(died=True) from error
        except OSError as error:
            raise NoAnswer(f"the agent cannot be reached: {error.strerror or error}") from error
        try:
            caller.sendall(f"{word}\n".encode())
            answer = json.loads(_line(caller, _LONGEST_ANSWER))
        except (OSError, ValueError) as error:
            raise NoAnswer("the agent gave no answer") from error
    if not isinstance(answer, dict):
        raise NoAnswer("the agent gave another answer than expected")
    return answer


def _peer_uid(caller: socket.socket) -> int:
    credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    return int(uid)


def _line(peer: socket.socket, limit: int) -> str:
    """One line of at most `limit` bytes, without its end. Raises ValueError, OSError."""
    data = b""
    while not data.endswith(b"\n"):
        more = peer.recv(65536)
        if not more or len(data) + len(more) > limit + 1:
            raise ValueError("no whole line")
        data += more
    return data[:-1].decode("ascii")


@contextlib.contextmanager
def _short(place: Path) -> Iterator[str]:
    """An address of the socket that is short enough however long its path is: the kernel takes 107 bytes."""
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{place.name}"
    finally:
        os.close(folder)
