"""The proof that a process gave up its rights, against a process that says so and did not."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from jobrunner.privacy.confined_process import ConfinedProcess, Launcher, NotConfined
from tests.privacy.making import IS_ROOT, JOB_UID

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not IS_ROOT, reason="without root there are no rights to give up"),
]

# What it does before it says that it is confined; then it waits until it is killed.
_SAY_SO = """
import socket, sys
from jobrunner.privacy import confine, frames
connection = socket.socket(fileno=int(sys.argv[1]))
{first}
frames.send(connection, {{"confined": True}})
frames.receive(connection)
"""
KEEPS_EVERYTHING = ""
DROPS_ALL = f"confine.drop_to({JOB_UID}, {JOB_UID})"
DROPS_ALL_AND_THE_NETWORK = f"confine.leave_network(); {DROPS_ALL}"


class OtherLauncher(Launcher):
    """Starts a process of another kind in the place of the one that is asked for."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.program = _SAY_SO.format(first=first)
        self.started: subprocess.Popen[bytes] | None = None

    def launch(self, main: str, arguments: Sequence[int], theirs: socket.socket) -> tuple[int, int]:
        self.started = subprocess.Popen(
            [sys.executable, "-c", self.program, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        return self.started.pid, os.pidfd_open(self.started.pid)


@pytest.fixture
def launched() -> Iterator[list[OtherLauncher]]:
    launchers: list[OtherLauncher] = []
    yield launchers
    for launcher in launchers:
        if launcher.started is not None:
            launcher.started.kill()
            launcher.started.wait()


def confirmed(launched: list[OtherLauncher], first: str, *, own_network: bool = False) -> None:
    launched.append(OtherLauncher(first))
    process = ConfinedProcess(
        launched[-1], "collector", [], uid=JOB_UID, gid=JOB_UID, timeout=20, own_network=own_network
    )
    try:
        process.confirm()
    finally:
        process.stop()


def test_a_process_that_keeps_its_rights_is_not_used(launched: list[OtherLauncher]) -> None:
    with pytest.raises(NotConfined, match="kept rights"):
        confirmed(launched, KEEPS_EVERYTHING)


def test_a_process_that_keeps_the_network_is_not_used(launched: list[OtherLauncher]) -> None:
    with pytest.raises(NotConfined, match="kept the network"):
        confirmed(launched, DROPS_ALL, own_network=True)


@pytest.mark.parametrize(("first", "own"), [(DROPS_ALL, False), (DROPS_ALL_AND_THE_NETWORK, True)])
def test_twin_a_process_that_gave_them_up_is_used(
    launched: list[OtherLauncher], first: str, own: bool
) -> None:
    confirmed(launched, first, own_network=own)


def test_a_process_is_used_and_ended_also_where_many_files_are_open(launched: list[OtherLauncher]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_000), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1_100)]
    try:
        confirmed(launched, DROPS_ALL)
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
