"""Start git on one mirror, in its own process group, with limits that are set before it runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobrunner.study.git_program import find_git
from jobrunner.study.rules import Limits


def start_git(
    mirror: Path,
    options: Sequence[str],
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    limits: Limits,
    pipes: bool = False,
    keep_open: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start `git <options> --git-dir=<mirror> <arguments>`; `pipes` connects its input and output.

    What git writes to its error output is dropped: part of it may come from the host.
    """
    program = find_git()
    stream = subprocess.PIPE if pipes else subprocess.DEVNULL
    return subprocess.Popen(
        [
            program.prlimit,
            f"--fsize={limits.pack_bytes}",
            f"--as={limits.memory_bytes}",
            "--core=0",
            "--",
            program.git,
            *options,
            f"--git-dir={mirror}",
            *arguments,
        ],
        stdin=stream,
        stdout=stream,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=dict(environment),
        process_group=0,
        pass_fds=keep_open,
        # Python ignores SIGXFSZ. With that kept, a file that grows too long is an error that git
        # reports, not a death without a word.
        restore_signals=False,
    )


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit status, or None when `seconds` are over. Returns as soon as the process ends."""
    # Popen.wait(timeout) polls with growing pauses, which would double the time of a short fetch.
    watched = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(watched, select.POLLIN)
        ended = poller.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(watched)
    return process.wait() if ended else None


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that it started. Safe to call when it has ended already."""
    # Once waited for, its number may belong to somebody else.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_to_end(
    process: subprocess.Popen[bytes], seconds: Callable[[], float], check: Callable[[], None], every_s: float
) -> int:
    """Wait for `process` and return its exit status; call `check` every `every_s` seconds meanwhile.

    `seconds` says what is left; at 0, or when `check` raises, the whole group is killed.

    Raises:
        TimeoutError: the time is over.
    """
    try:
        while True:
            status = wait_for(process, min(seconds(), every_s))
            if status is not None:
                return status
            if seconds() <= 0:
                raise TimeoutError
            check()
    finally:
        kill_group(process)
