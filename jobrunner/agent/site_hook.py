"""The site hook: a program of the site that is asked about each job and may refuse it (threats.md section 6).

It is asked after the approval was found good and before anything is fetched. It gets a closed list of values
as JSON on its standard input, and answers by its exit status alone: 0 lets the job go on. Whatever else it
does is a refusal, `site_policy` with the detail `hook`. Nothing of it ever leaves the site.
"""

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

import structlog

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.attempt_values import workspace_of
from jobrunner.agent.hook_policy import fault_of_program
from jobrunner.agent.outcome import Ended, end
from jobrunner.study import Stop
from jobrunner.sync.approvals import Payload
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

FORMAT: Final = 1
MOST_SAID: Final = 16 * 1024
"""As many bytes as a hook may print, standard output and error together."""
_MOST_KEPT: Final = 2000
_KILLED_WITHIN_S: Final = 5.0
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Approved:
    """What the hook is told of the approval. `digest` is the sha256 of its envelope, `not_after` in s UTC."""

    approval_id: str
    serial: int
    digest: str
    database: bool
    datasets: tuple[str, ...]
    not_after: int


@dataclass(frozen=True, slots=True)
class Question:
    """All that a hook is told: what the offer says, what follows from it, and what was signed."""

    format: int
    backend: str
    job_id: str
    attempt: int
    request_id: str
    project: str
    repo: str
    branch: str
    commit: str
    action: str
    workspace: str
    approval: Approved


def question_of(attempt: Attempt, payload: Payload, digest: str, backend: str) -> Question:
    """The question about an attempt whose approval is good."""
    offer = attempt.offer
    return Question(
        format=FORMAT,
        backend=backend,
        job_id=attempt.job_id,
        attempt=attempt.number,
        request_id=offer.request_id,
        project=offer.project,
        repo=offer.repo,
        branch=offer.branch,
        commit=offer.commit,
        action=offer.action,
        workspace=workspace_of(attempt),
        approval=Approved(
            approval_id=payload.approval_id,
            serial=payload.serial,
            digest=digest,
            database=payload.database,
            datasets=payload.datasets,
            not_after=payload.not_after,
        ),
    )


class SiteHook:
    """The program as it was when the agent of this backend started; another in its place is never run.

    `program` has no link on its way (`Path.resolve`). Raises OSError when it cannot be read.
    """

    def __init__(self, program: Path, deadline_s: float, backend: str) -> None:
        self._program = program
        self._deadline_s = deadline_s
        self._backend = backend
        self._file = _identity(program)

    def ask(self, attempt: Attempt, payload: Payload, digest: str, stop: Stop) -> None:
        """Return when the hook lets the job go on. Raises Ended when it does not, and Stopped.

        `payload` is that of the attempt's approval, `digest` the sha256 of the envelope.
        """
        question = question_of(attempt, payload, digest, self._backend)
        fault = fault_of_program(self._program)
        if fault is not None:
            raise _refused(f"cannot be trusted: {fault}")
        try:
            if _identity(self._program) != self._file:
                raise _refused(f"is another than at the agent's start: {self._program} changed; restart it")
            status, said = self._run(json.dumps(asdict(question)).encode("ascii"), stop)
        except OSError as error:
            raise _refused(f"cannot be run: {error.strerror}") from error
        stop.check()
        words = _words(said)
        log.info("hook", job=attempt.job_id, attempt=attempt.number, status=status, said=words)
        if status != 0:
            how = f"was ended by signal {-status}" if status < 0 else f"refused it (exit status {status})"
            raise _refused(f"{how}; it said: {words}" if words else how)

    def _run(self, question: bytes, stop: Stop) -> tuple[int, bytes]:
        """Exit status and output of one run. When this returns or raises, its process group is killed."""
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as said:
            with os.fdopen(writer, "wb") as output:
                child = self._start(question, output)
            kill = partial(_kill_group, child.pid)
            try:
                with stop.calling(kill):
                    text = self._listen(child.pid, said.fileno())
            finally:
                # Before its leader is waited for, so that the number of the group cannot be anybody else's.
                kill()
                status = _ended(child)
        return status, text

    def _start(self, question: bytes, output: IO[bytes]) -> subprocess.Popen[bytes]:
        # A file, not a pipe: whoever does not read it holds nobody up.
        with os.fdopen(os.memfd_create("question"), "w+b") as given:
            given.write(question)
            given.seek(0)
            return subprocess.Popen(
                [str(self._program)],
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )

    def _listen(self, pid: int, pipe: int) -> bytes:
        """What it prints until it ends; children that keep its output open are not waited for."""
        ended = os.pidfd_open(pid)
        try:
            return self._gather(ended, pipe)
        finally:
            os.close(ended)

    def _gather(self, ended: int, pipe: int) -> bytes:
        until = time.monotonic() + self._deadline_s
        said = b""
        watch = select.poll()
        watch.register(ended, select.POLLIN)
        watch.register(pipe, select.POLLIN)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise _refused(f"gave no answer in {self._deadline_s:g} s and was killed")
            ready = {descriptor for descriptor, _events in watch.poll(left * 1000)}
            if pipe in ready:
                more = os.read(pipe, MOST_SAID + 1 - len(said))
                said += more
                if len(said) > MOST_SAID:
                    raise _refused(f"printed more than {MOST_SAID} bytes and was killed")
                if not more:
                    watch.unregister(pipe)
            elif ended in ready:
                return said


def _identity(program: Path) -> tuple[int, int, int, int]:
    info = program.lstat()
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Its exit status, negative for a signal. It is dead, or will be when the kernel lets go of it."""
    try:
        return child.wait(_KILLED_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise _refused("cannot be killed") from error


def _words(said: bytes) -> str:
    """What it printed, on one line; raises Ended for what people could not read."""
    try:
        text = " ".join(said.decode("utf-8").split())
    except UnicodeDecodeError as error:
        raise _refused("printed what is not UTF-8") from error
    if not text.isprintable():
        raise _refused("printed signs that do not show")
    return text[:_MOST_KEPT]


def _refused(how: str) -> Ended:
    return end(Reason.SITE_POLICY, "hook", f"The site hook {how}.")
