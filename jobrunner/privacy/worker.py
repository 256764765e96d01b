"""The process that reads files of a job to check them: no network, no rights, limits of its own.

Forked by `launcher.py` for `checking.py`, with SOCKET, UID, GID, CPU, WALL and MEMORY. This
prepared process forks a child that answers requests over the same socket. The kernel kills a child that
takes too long; then the next one is forked, which costs about a millisecond.
"""

import gc
import hashlib
import os
import resource
import signal
import socket

from jobrunner.privacy import confine, frames
from jobrunner.privacy.disclosure import engine, rulebook
from jobrunner.privacy.disclosure.content import read_limited
from jobrunner.privacy.disclosure.findings import as_data
from jobrunner.privacy.disclosure.rulebook import Rulebook
from jobrunner.privacy.logs import log_tail

# What one file did to a child, the next one must not meet for long.
_FILES_PER_CHILD = 100
_ALL_DONE = 3


def main(arguments: list[str]) -> int:
    """Load the rulebook, confine this process, and keep one child at work until the socket closes."""
    socket_fd, uid, gid, cpu, wall, memory = (int(argument) for argument in arguments)
    connection = socket.socket(fileno=socket_fd)
    first = frames.receive(connection)
    if first is None:
        return 1
    book = rulebook.load(first[0]["rulebook"].encode("utf-8"))
    if os.geteuid() == 0:
        confine.leave_network()
    confine.drop_to(uid, gid)
    confine.die_with_parent()
    confine.limit({"CORE": 0, "FSIZE": 0, "NOFILE": 64})
    frames.send(connection, {"confined": True})
    gc.collect()
    gc.freeze()  # shared pages stay shared in the children
    while True:
        child = os.fork()
        if child == 0:
            _serve_and_exit(connection, book, cpu, wall, memory)
        _pid, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _ALL_DONE:
            return 0
        if status != 0:
            frames.send(connection, {"died": _why(status)})


def _serve_and_exit(connection: socket.socket, book: Rulebook, cpu: int, wall: int, memory: int) -> None:
    try:
        confine.die_with_parent()
        confine.limit({"NPROC": 0, "AS": memory})
        for _count in range(_FILES_PER_CHILD):
            request = frames.receive(connection)
            if request is None:
                os._exit(_ALL_DONE)
            _start_clocks(cpu, wall)
            clean = _answer(connection, request, book)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if not clean:
                break
        os._exit(0)
    except BaseException:  # noqa: BLE001 (a child must never run on into the loop of its parent)
        os._exit(1)


def _start_clocks(cpu: int, wall: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu, hard))
    # Nobody handles SIGALRM and SIGXCPU: both end the process, even inside a parser written in C.
    signal.setitimer(signal.ITIMER_REAL, wall)


def _answer(connection: socket.socket, request: tuple[dict[str, object], int | None], book: Rulebook) -> bool:
    """Check one file and send the report. False when this child should not see another file."""
    message, fd = request
    if fd is None:
        raise frames.BrokenConversation("a request without its file")
    try:
        if message["is_log"]:
            data = log_tail(fd)
            size = len(data)
            # It may have grown since it was asked about: what is told is of the very bytes that were read.
            sha256 = hashlib.sha256(data).hexdigest()
        else:
            size = os.fstat(fd).st_size
            data = read_limited(fd, book.limits.bytes)
            sha256 = str(message["sha256"])
    finally:
        os.close(fd)
    report = engine.check_bytes(str(message["path"]), data, size, sha256, book)
    frames.send(connection, {"id": message["id"], "report": as_data(report)})
    return all(finding.rule != engine.NOT_CHECKED for finding in report.findings)


def _why(status: int) -> str:
    timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU)
    return "time limit" if timed_out else "check failed"
