"""What an executor asks of the machine itself: its clock, and its errors as those of the contract."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobrunner.executors.base import EngineError


def boot_time() -> float:
    """Seconds since the host started, sleep included; nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def started(pid: int) -> float:
    """When the process started, in boot time (proc(5), field 22 of stat)."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return boot_time()  # it has just ended; the next look will say so
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def on_host(doing: str) -> Iterator[None]:
    """Turn errors of files and programs of this machine into EngineError."""
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"could not {doing}: {error}") from error
