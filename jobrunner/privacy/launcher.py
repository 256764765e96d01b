"""The process that makes confined processes: prepared once, it forks one in a millisecond or two.

Started by `confined_process.Launcher` as `python -I -S` with an empty environment, before any job runs. It
holds nothing but our own code and never reads what a job wrote; only its children do, after they have given
up their rights. It ends when the agent's end of its socket closes, however the agent ended.
"""

import gc
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from jobrunner.privacy import collector, frames, worker
from jobrunner.privacy.disclosure import rulebook

_MAIN = {"collector": collector.main, "worker": worker.main}


def main(arguments: list[str]) -> int:
    """Fork one child for each request that comes over the socket; each brings the child's own socket."""
    connection = socket.socket(fileno=int(arguments[0]))
    # Both are remembered, so that no child has to.
    rulebook.load(rulebook.default_rulebook())
    collector.load_patterns()
    gc.collect()
    gc.freeze()  # shared pages stay shared in the children
    while True:
        received = frames.receive(connection)
        _reap()
        if received is None:
            return 0
        message, theirs = received
        if theirs is None:
            return 1
        child = os.fork()
        if child == 0:
            _become(message, connection, theirs)
        os.close(theirs)
        handle = os.pidfd_open(child)
        frames.send(connection, {"pid": child}, handle)
        os.close(handle)


def _reap() -> None:
    """Forget children that have ended, so that the kernel can."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _become(message: Mapping[str, Any], connection: socket.socket, theirs: int) -> None:
    try:
        connection.close()
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        numbers = [str(int(number)) for number in message["arguments"]]
        os._exit(_MAIN[message["main"]]([str(theirs), *numbers]))
    except BaseException:  # noqa: BLE001 (a child must never run on into the loop of its parent)
        os._exit(1)
