"""Asking the worker about files, some of them ahead of its answers, and what it says of each.

The worker takes one request after the other, so what it dies of is the oldest one without an answer; those
behind it are asked again of the next worker. Whoever asks must take all answers before it waits for anything
else: a worker whose answers nobody reads stands still, and its clock does not.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.privacy import frames
from jobrunner.privacy.confined_process import NotConfined
from jobrunner.privacy.disclosure.findings import FileReport, file_report_from

#: So many are asked before the first answer is waited for. They are short, so that they fit into the buffer
#: of a socket by far: who sends them never waits for a worker that waits until its answer is read.
ASKED_AHEAD: Final = 16

CHECK_FAILED: Final = "check failed"
TIME_LIMIT: Final = "time limit"
_WORDS: Final = (TIME_LIMIT, CHECK_FAILED)

# How long an answer that was given before a line broke may take to be read.
_LAST_WORDS_S: Final = 2.0


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
    line: socket.socket | None = None
    failed: bool = False


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
        # A line that took no more; what was answered before may still be read from it.
        self._deaf: socket.socket | None = None
        #: How long `ask` and `answer` took so far.
        self.seconds = 0.0

    def __len__(self) -> int:
        """How many were asked whose answer was not taken."""
        return len(self._open)

    def ask(self, request: Request) -> None:
        """One more request. What goes wrong shows in its answer."""
        with self._timed():
            self._open.append(_Asked(self._number, request))
            self._number += 1
            self._send_open()

    def answer(self) -> tuple[Request, FileReport | Unanswered]:
        """Wait for the answer to the oldest request that has none."""
        with self._timed():
            asked = self._open[0]
            if self._deaf is not None and asked.line is None and not asked.failed:
                self._replace()
            self._send_open()
            answer = self._answer(asked)
            self._open.popleft()
        return asked.request, answer

    def drop(self) -> list[Request]:
        """Forget what has no answer, and return it, the oldest first. The worker is not to be asked again."""
        dropped = [asked.request for asked in self._open]
        self._open.clear()
        return dropped

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def _send_open(self) -> None:
        """Send what no worker has, in order; whoever fails is the last one for now."""
        for asked in self._open:
            if asked.line is None and not asked.failed:
                self._still_wanted()
                if self._deaf is not None or not self._send(asked):
                    return

    def _send(self, asked: _Asked) -> bool:
        request = asked.request
        try:
            line = self._worker()
        except (NotConfined, OSError):
            asked.failed = True
            self._broken()
            return False
        try:
            fd = os.open(request.stored, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            asked.failed = True
            return True
        question = {
            "id": asked.number,
            "path": request.path,
            "sha256": request.sha256,
            "is_log": request.is_log,
        }
        patience = line.gettimeout()
        # All that may be asked ahead fits by far: where it does not, nobody reads.
        line.settimeout(0.0)
        try:
            frames.send(line, question, fd)
        except frames.BrokenConversation:
            line.settimeout(_LAST_WORDS_S)
            self._deaf = line
            return False
        finally:
            os.close(fd)
        line.settimeout(patience)
        asked.line = line
        return True

    def _answer(self, asked: _Asked) -> FileReport | Unanswered:
        if asked.line is None:
            return Unanswered(CHECK_FAILED)
        try:
            return self._receive(asked, asked.line)
        except (frames.BrokenConversation, OSError):
            self._replace()
            return Unanswered(CHECK_FAILED)

    def _replace(self) -> None:
        self._broken()
        self._deaf = None
        for asked in self._open:
            asked.line = None

    def _receive(self, asked: _Asked, line: socket.socket) -> FileReport | Unanswered:
        over = time.monotonic() + (line.gettimeout() or _LAST_WORDS_S)
        while True:
            received = frames.receive(line, self._still_wanted)
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
            self._still_wanted()
            if time.monotonic() > over:
                raise frames.BrokenConversation("the worker answers everything else")


def _trusted(request: Request, answer: Mapping[str, object]) -> FileReport | Unanswered:
    """The report as sent, if it is a report on this very file."""
    try:
        report = file_report_from(answer["report"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise frames.BrokenConversation("the worker sent no report") from error
    if request.is_log and report.path == request.path and report.sha256 != request.sha256:
        # It grew since it was asked about, and will be asked about again.
        return Unanswered(CHECK_FAILED)
    if (report.path, report.sha256) != (request.path, request.sha256):
        raise frames.BrokenConversation("the worker sent a report on another file")
    return report
