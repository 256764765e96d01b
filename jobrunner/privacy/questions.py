"""Asking the worker about files, some of them ahead of its answers, and what it says of each.

The worker takes one request after the other, so what it dies of is the oldest one without an answer; those
behind it are asked again of the next worker.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.privacy import frames
from jobrunner.privacy.confined_process import NotConfined
from jobrunner.privacy.disclosure.findings import FileReport, file_report_from

#: So many are asked before the first answer is waited for: all of them fit into the buffer of a socket.
ASKED_AHEAD: Final = 16

CHECK_FAILED: Final = "check failed"
TIME_LIMIT: Final = "time limit"
_WORDS: Final = (TIME_LIMIT, CHECK_FAILED)


@dataclass(frozen=True, slots=True)
class Request:
    """One stored file and how the report is to call it. Of a log, hash and size are those of its tail."""

    path: str
    stored: Path
    sha256: str
    size: int
    is_log: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """There is no report; `why` is one of two fixed texts."""

    why: str


@dataclass(slots=True)
class _Asked:
    number: int
    request: Request
    connection: socket.socket | None = None


class Questions:
    """Requests on their way to one worker after the other, and their answers in the same order.

    `worker` gives the line to the one to ask, or raises NotConfined; `broken` is told that it is of no use
    any more. `still_wanted` is called for each request and while an answer is waited for, and may raise to
    stop.
    """

    def __init__(
        self,
        worker: Callable[[], socket.socket],
        broken: Callable[[], object],
        still_wanted: Callable[[], object],
    ) -> None:
        self._worker = worker
        self._broken = broken
        self._still_wanted = still_wanted
        self._open: deque[_Asked] = deque()
        self._number = 0
        #: How long `ask` and `answer` took so far.
        self.seconds = 0.0

    def __len__(self) -> int:
        """How many were asked whose answer was not taken."""
        return len(self._open)

    def ask(self, request: Request) -> None:
        """One more request. What goes wrong shows in its answer."""
        began = time.monotonic()
        self._still_wanted()
        asked = _Asked(self._number, request)
        self._number += 1
        self._send(asked)
        self._open.append(asked)
        self.seconds += time.monotonic() - began

    def answer(self) -> tuple[Request, FileReport | Unanswered]:
        """Wait for the answer to the oldest request that has none."""
        began = time.monotonic()
        asked = self._open.popleft()
        answer = self._answer(asked)
        self.seconds += time.monotonic() - began
        return asked.request, answer

    def _answer(self, asked: _Asked) -> FileReport | Unanswered:
        if asked.connection is None:
            return Unanswered(CHECK_FAILED)
        try:
            return self._receive(asked, asked.connection)
        except (frames.BrokenConversation, OSError):
            self._broken()
            for other in self._open:
                self._send(other)
            return Unanswered(CHECK_FAILED)

    def _send(self, asked: _Asked) -> None:
        request = asked.request
        asked.connection = None
        try:
            connection = self._worker()
            fd = os.open(request.stored, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotConfined:
            self._broken()
            return
        except OSError:
            return
        asked.connection = connection
        question = {
            "id": asked.number,
            "path": request.path,
            "sha256": request.sha256,
            "is_log": request.is_log,
        }
        try:
            frames.send(connection, question, fd)
        except frames.BrokenConversation:
            # It may have answered others before it broke, so whoever waits for the oldest finds out.
            pass
        finally:
            os.close(fd)

    def _receive(self, asked: _Asked, connection: socket.socket) -> FileReport | Unanswered:
        while True:
            received = frames.receive(connection, self._still_wanted)
            if received is None:
                raise frames.BrokenConversation("the worker ended")
            answer, extra = received
            if extra is not None:
                os.close(extra)
                raise frames.BrokenConversation("the worker sent a file")
            if "died" in answer:
                return Unanswered(answer["died"] if answer["died"] in _WORDS else CHECK_FAILED)
            if answer.get("id") == asked.number:
                return _trusted(asked.request, answer)


def _trusted(request: Request, answer: Mapping[str, object]) -> FileReport:
    """The report as sent, if it is a report on this very file."""
    try:
        report = file_report_from(answer["report"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise frames.BrokenConversation("the worker sent no report") from error
    if (report.path, report.sha256) != (request.path, request.sha256):
        raise frames.BrokenConversation("the worker sent a report on another file")
    return report
