"""A process that gives up its rights before it reads what a job wrote, and the proof that it did."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jobrunner
from jobrunner.privacy import frames

# The package is taken from the folder of this very program, wherever else one is installed.
_START = """
import importlib, importlib.util, sys
root, fd = sys.argv[1:3]
spec = importlib.util.spec_from_file_location(
    "jobrunner", root + "/__init__.py", submodule_search_locations=[root]
)
package = importlib.util.module_from_spec(spec)
sys.modules["jobrunner"] = package
spec.loader.exec_module(package)
sys.exit(importlib.import_module("jobrunner.privacy.launcher").main([fd]))
"""
_LAUNCH_SECONDS = 20.0


class NotConfined(Exception):
    """The process did not start, or kept rights that it had to give up."""


class Launcher:
    """Makes confined processes for one program; safe to share between threads.

    The launching process is started with the first request, and again if it was lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(self) -> None:
        """Start the launching process now, so that the first request need not wait for it."""
        with self._lock:
            self._started()

    def launch(self, main: str, arguments: Sequence[int], theirs: socket.socket) -> tuple[int, int]:
        """Have `main` of the named module run as `main([SOCKET, *arguments])`; returns pid and pidfd.

        Raises NotConfined.
        """
        with self._lock:
            try:
                connection = self._started()
                frames.send(connection, {"main": main, "arguments": list(arguments)}, theirs.fileno())
                received = frames.receive(connection)
            except (frames.BrokenConversation, OSError) as error:
                self._stop()
                raise NotConfined(f"the launcher of processes does not work: {error}") from error
            if received is None or received[1] is None:
                self._stop()
                raise NotConfined("the launcher of processes ended")
            return int(received[0]["pid"]), received[1]

    def stop(self) -> None:
        """End the launching process, and with it all that it made. May be called again."""
        with self._lock:
            self._stop()

    def _started(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            ours.settimeout(_LAUNCH_SECONDS)
            root = str(Path(jobrunner.__file__).parent)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, root, str(theirs.fileno())],
                    env={},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._connection = ours
        return self._connection

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ConfinedProcess:
    """`main([SOCKET, UID, GID, *arguments])` of a module, in a process of its own.

    It runs until `stop`. Nothing but `first`, if given, may be sent to it before `confirm`. `main` must drop
    its rights with `confine.drop_to` and then send `{"confined": true}`. `timeout` (seconds) holds for each
    wait on `connection`. Raises NotConfined when it cannot be started.
    """

    def __init__(
        self,
        launcher: Launcher,
        main: str,
        arguments: Sequence[int],
        *,
        uid: int,
        gid: int,
        timeout: float,
        first: Mapping[str, Any] | None = None,
        own_network: bool = False,
    ) -> None:
        self._main = main
        self._uid = uid
        self._gid = gid
        self._own_network = own_network
        self._confirmed = False
        self._killed = False
        self._stopped = False
        self.connection, theirs = socket.socketpair()
        self.connection.settimeout(timeout)
        try:
            with theirs:
                self.pid, self._handle = launcher.launch(main, [uid, gid, *arguments], theirs)
        except NotConfined:
            self.connection.close()
            raise
        if first is not None:
            try:
                frames.send(self.connection, first)
            except frames.BrokenConversation:
                # It died at once; `confirm` says so to whoever wants to use it.
                pass

    def confirm(self) -> None:
        """Wait until it is ready, and with root ask the kernel whether its rights are gone.

        Raises NotConfined, and the process is stopped then. May be called again.
        """
        if self._confirmed:
            return
        try:
            answer = frames.receive(self.connection)
            if answer is None or answer[0] != {"confined": True}:
                raise NotConfined(f"the {self._main} did not start")
            if os.geteuid() == 0:
                _require_dropped(self.pid, self._uid, self._gid)
                if self._own_network:
                    _require_own_network(self.pid)
                if self._has_ended(0):
                    # Its number may be another process's by now, and then the answers were about that one.
                    raise NotConfined(f"the {self._main} ended")
        except (frames.BrokenConversation, OSError) as error:
            self.stop()
            raise NotConfined(f"the {self._main} did not start: {error}") from error
        except BaseException:
            self.stop()
            raise
        self._confirmed = True

    def kill(self) -> None:
        """Kill the process; `stop` waits until it has gone and must follow. May be called again."""
        if self._killed:
            return
        self._killed = True
        self.connection.close()
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had ended by itself

    def stop(self) -> None:
        """Kill the process and wait until it has gone. May be called again."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self.kill()
            self._has_ended(_LAUNCH_SECONDS)
        finally:
            os.close(self._handle)

    def _has_ended(self, seconds: float) -> bool:
        watch = select.poll()
        watch.register(self._handle, select.POLLIN)
        return bool(watch.poll(seconds * 1000))


def _require_dropped(pid: int, uid: int, gid: int) -> None:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    status = {name: value.split() for name, _colon, value in (line.partition(":") for line in lines)}
    expected = {
        "Uid": [str(uid)] * 4,
        "Gid": [str(gid)] * 4,
        "Groups": [],
        "CapInh": ["0" * 16],
        "CapPrm": ["0" * 16],
        "CapEff": ["0" * 16],
        "NoNewPrivs": ["1"],
    }
    kept = [name for name, value in expected.items() if status.get(name) != value]
    if kept:
        raise NotConfined("a process kept rights: " + ", ".join(kept))


def _require_own_network(pid: int) -> None:
    theirs = Path(f"/proc/{pid}/ns/net").stat()
    ours = Path("/proc/self/ns/net").stat()
    if theirs.st_ino == ours.st_ino:
        raise NotConfined("a process that reads files of a job kept the network")
