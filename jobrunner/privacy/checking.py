"""Checking moderately sensitive files and the log by content: threats.md section 4 item 10.

Every file gets a report. One that makes the check die, hang or raise gets SDC099, and the rest goes on.
"""

import hashlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from queue import SimpleQueue

from jobrunner import __version__
from jobrunner.privacy.confined_process import ConfinedProcess, Launcher, NotConfined
from jobrunner.privacy.disclosure import engine, rulebook
from jobrunner.privacy.disclosure.findings import FileReport, Report
from jobrunner.privacy.levels import MODERATELY
from jobrunner.privacy.logs import log_tail
from jobrunner.privacy.outputs import CollectedFile
from jobrunner.privacy.questions import ASKED_AHEAD, TIME_LIMIT, Questions, Request

# How long after its own deadline the kernel may take to kill a child before the whole worker is ended.
_GRACE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """Limits for each file: bytes of address space, seconds of CPU and of wall clock; and seconds for all."""

    memory_bytes: int = 256 * 1024**2
    cpu_seconds: int = 10
    wall_seconds: int = 20
    total_seconds: float = 1800.0


class Sign(Enum):
    """What may come among files: the log is another one, or the next one is not there yet."""

    THE_LOG = 1
    NOT_YET = 2


class GivenUp(Exception):
    """Nobody needs the checks any more."""


class Coming:
    """Files on their way from the collector to the checks, which run at the same time.

    Whoever collects puts them in, within a `with` block; when that ends, so do they. When it ends with an
    error nobody needs the checks any more, and who makes them gets GivenUp.
    """

    def __init__(self) -> None:
        self._files: SimpleQueue[CollectedFile | Sign | None] = SimpleQueue()
        self._given_up = False

    def put(self, file: CollectedFile) -> None:
        """One more file that was kept."""
        self._files.put(file)

    def put_log(self) -> None:
        """The log is there, or is another than it was: the check of how it is now is what counts."""
        self._files.put(Sign.THE_LOG)

    def __enter__(self) -> "Coming":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._given_up = kind is not None
        self._files.put(None)

    def require_wanted(self) -> None:
        """Raise GivenUp when the block ended with an error."""
        if self._given_up:
            raise GivenUp

    def __iter__(self) -> Iterator["CollectedFile | Sign"]:
        while True:
            if self._files.empty():
                yield Sign.NOT_YET
            file = self._files.get()
            self.require_wanted()
            if file is None:
                return
            yield file


def check_files(
    files: Iterable[CollectedFile | Sign],
    *,
    checker: "Checker",
    log: Path | None = None,
    log_name: str = "metadata/job.log",
    subject: Mapping[str, str] | None = None,
    still_wanted: Callable[[], object] = lambda: None,
) -> Report:
    """The report on the moderately sensitive ones of `files` and on the last 1 MiB of `log`.

    `files` may be `Coming`, and Sign.THE_LOG among them each time that `log` is another one; when it never
    is, `log` is looked at after all files.
    `subject`: project, workspace, job, commit, for the report. A file that could not be checked is in the
    report with SDC099, also when no process can be started at all. `still_wanted` is called while a check
    goes on, and may raise to stop. Raises GivenUp.
    """
    started = int(time.time())
    of_log, reports = None, []

    def wanted() -> None:
        still_wanted()
        if isinstance(files, Coming):
            files.require_wanted()

    # No output can have the name of a log: nothing in `metadata` is collected.
    for report in checker.reports(_requests(files, log, log_name), wanted):
        if log is not None and report.path == log_name:
            of_log = report
        else:
            reports.append(report)
    return Report(
        engine=__version__,
        rulebook=checker.book.quoted,
        subject=dict(subject or {}),
        started=started,
        finished=int(time.time()),
        files=tuple(sorted(reports, key=lambda report: report.path)),
        log=of_log,
    )


def _requests(
    files: Iterable[CollectedFile | Sign], log: Path | None, log_name: str
) -> Iterator[Request | None]:
    """What to check, one after the other. None: the next one is not there yet."""
    came = False
    for file in files:
        if file is Sign.NOT_YET:
            yield None
        elif isinstance(file, Sign):
            came = True
            if log is not None:
                yield _log_request(log, log_name)
        elif file.level == MODERATELY:
            yield Request(file.path, file.stored, file.sha256, file.size, False)
    if log is not None and not came:
        yield _log_request(log, log_name)


def _log_request(log: Path, name: str) -> Request:
    tail = log_tail(log)
    return Request(name, log, hashlib.sha256(tail).hexdigest(), len(tail), True)


class Checker:
    """Holds the worker that reads files, and starts another when it breaks. For one job; `stop` ends it.

    `uid`, `gid`: the user to check as, which must be neither the agent's nor the job's; ignored without root.
    `source`: a rulebook in TOML, the default one without it. Raises rulebook.RulebookError.
    """

    def __init__(
        self,
        launcher: Launcher,
        uid: int,
        gid: int,
        source: bytes | None = None,
        limits: CheckLimits = CheckLimits(),
    ) -> None:
        self.source = rulebook.default_rulebook() if source is None else source
        self.book = rulebook.load(self.source)
        self.launcher = launcher
        self.uid = uid
        self.gid = gid
        self.limits = limits
        self.worker: ConfinedProcess | None = None
        self._dismissed: list[ConfinedProcess] = []

    def begin(self) -> None:
        """Have the worker get ready while the caller does something else; what goes wrong shows later."""
        try:
            self._launch()
        except NotConfined:
            # The first file tries again, and is refused if that fails too.
            pass

    def dismiss(self) -> None:
        """End the worker without waiting until it has gone: `stop` does. May be called again."""
        if self.worker is not None:
            self.worker.kill()
            self._dismissed.append(self.worker)
            self.worker = None

    def stop(self) -> None:
        """End the worker and wait until it has gone. May be called again."""
        self.dismiss()
        while self._dismissed:
            self._dismissed.pop().stop()

    def reports(
        self, requests: Iterable[Request | None], still_wanted: Callable[[], object] = lambda: None
    ) -> list[FileReport]:
        """One report for each request, in order. The worker reads these files and no others.

        Where there is None among the requests, all that came before is answered before the next is asked for.
        """
        try:
            return list(self._reports(requests, still_wanted))
        finally:
            self.dismiss()

    def _reports(
        self, requests: Iterable[Request | None], still_wanted: Callable[[], object]
    ) -> Iterator[FileReport]:
        # Waiting for the next file is no time of the checks, so it does not count.
        questions = Questions(self._line, self.stop, still_wanted)
        for request in requests:
            if request is None:
                yield from self._answers(questions, 0)
            elif self._has_time(questions):
                questions.ask(request)
                yield from self._answers(questions, ASKED_AHEAD - 1)
            else:
                yield from self._answers(questions, 0)
                yield self._unchecked(request, TIME_LIMIT)
        yield from self._answers(questions, 0)

    def _answers(self, questions: Questions, left: int) -> Iterator[FileReport]:
        """Reports on what was asked, until no more than `left` are without one, or the time is over."""
        while len(questions) > left and self._has_time(questions):
            request, answer = questions.answer()
            yield answer if isinstance(answer, FileReport) else self._unchecked(request, answer.why)
        if not self._has_time(questions):
            for request in questions.drop():
                yield self._unchecked(request, TIME_LIMIT)

    def _has_time(self, questions: Questions) -> bool:
        return questions.seconds <= self.limits.total_seconds

    def _line(self) -> socket.socket:
        worker = self._launch()
        worker.confirm()
        return worker.connection

    def _launch(self) -> ConfinedProcess:
        if self.worker is None:
            limits = self.limits
            self.worker = ConfinedProcess(
                self.launcher,
                "worker",
                [limits.cpu_seconds, limits.wall_seconds, limits.memory_bytes],
                uid=self.uid,
                gid=self.gid,
                timeout=limits.wall_seconds + _GRACE_SECONDS,
                first={"rulebook": self.source.decode("utf-8")},
                own_network=True,
            )
        return self.worker

    def _unchecked(self, request: Request, why: str) -> FileReport:
        return engine.unchecked(request.path, request.size, request.sha256, self.book, why)
