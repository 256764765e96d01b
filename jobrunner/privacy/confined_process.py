"""Starting one of our own modules as a process that gives up its rights, and making sure that it did."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jobrunner
from jobrunner.privacy import frames

# The package is taken from the folder of this very program, wherever else one is installed.
_START = """
import importlib, importlib.util, sys
root, module = sys.argv[1:3]
spec = importlib.util.spec_from_file_location(
    "jobrunner", root + "/__init__.py", submodule_search_locations=[root]
)
package = importlib.util.module_from_spec(spec)
sys.modules["jobrunner"] = package
spec.loader.exec_module(package)
sys.exit(importlib.import_module(module).main(sys.argv[3:]))
"""


class NotConfined(Exception):
    """The process did not start, or kept rights that it had to give up."""


class ConfinedProcess:
    """`main([SOCKET, UID, GID, *arguments])` of a module, in `python -I -S` with an empty environment.

    It runs until `stop`, or until the thread that made it ends. It starts at once and gets ready by itself;
    nothing but `first`, if given, may be sent to it before `confirm`. `main` must drop its rights with
    `confine.drop_to` and then send `{"confined": true}`. `timeout` (seconds) holds for each wait on
    `connection`.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[int],
        *,
        uid: int,
        gid: int,
        timeout: float,
        first: Mapping[str, Any] | None = None,
        own_network: bool = False,
    ) -> None:
        self._module = module
        self._uid = uid
        self._gid = gid
        self._own_network = own_network
        self._confirmed = False
        self.connection, theirs = socket.socketpair()
        with theirs:
            self.connection.settimeout(timeout)
            root = str(Path(jobrunner.__file__).parent)
            numbers = [str(number) for number in (theirs.fileno(), uid, gid, *arguments)]
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, root, module, *numbers],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
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
                raise NotConfined(f"{self._module} did not start")
            if os.geteuid() == 0:
                _require_dropped(self.process.pid, self._uid, self._gid)
                if self._own_network:
                    _require_own_network(self.process.pid)
        except (frames.BrokenConversation, OSError) as error:
            self.stop()
            raise NotConfined(f"{self._module} did not start: {error}") from error
        except BaseException:
            self.stop()
            raise
        self._confirmed = True

    def stop(self) -> None:
        """Kill the process and wait until it has gone. May be called again."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


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
