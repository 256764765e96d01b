"""The real programs, started from outside as a person or systemd would, and ended by pid."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from jobrunner.demo.folder import DemoProblem

_COMMAND: Final = (sys.executable, "-P", "-m", "jobrunner.cli.main")
_TAIL_LINES: Final = 15


def environment(**ours: str) -> dict[str, str]:
    """The caller's environment without anything that steers jobrunner or Django, and `ours`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("JOBRUNNER_", "DJANGO_"))
    }
    return kept | ours


def run(words: Sequence[str], env: Mapping[str, str]) -> str:
    """Run one `jobrunner` command and return what it printed. Raises DemoProblem when it fails."""
    done = subprocess.run(
        [*_COMMAND, *words],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoProblem(f"`jobrunner {' '.join(words[:2])}` failed: {done.stderr.strip()}")
    return done.stdout


def line_with(pattern: str, printed: str) -> str:
    """The first line of `printed` that is nothing but `pattern`. Raises DemoProblem."""
    found = re.search(rf"^{pattern}$", printed, re.MULTILINE)
    if found is None:
        raise DemoProblem(f"a program did not print what was expected, but: {printed.strip()}")
    return found[0]


class ProgramEnded(DemoProblem):
    """One of the programs ended by itself. `name` says which, `status` how."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        super().__init__(f"the {name} ended by itself (status {status}). Its log {log} ends so:\n{tail}")
        self.name = name
        self.status = status


class Program:
    """A `jobrunner` program that runs until `stop`. It ends with this process, however that ends."""

    def __init__(self, name: str, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as said:
            self._start_of_log = said.tell()
            self._process = subprocess.Popen(
                [*_with_us(), *_COMMAND, *words],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # Ctrl-C is for the demo, which then ends its programs in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def require_running(self) -> None:
        """Raises ProgramEnded, with the end of its log, when the program has ended."""
        status = self._process.poll()
        if status is not None:
            raise ProgramEnded(self.name, status, self.log, self.tail())

    def tail(self) -> str:
        """The last lines that it said since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._start_of_log)
            said = log.read().decode("utf-8", "replace")
        return "\n".join(said.splitlines()[-_TAIL_LINES:])

    def stop(self, patience_s: Sequence[float]) -> None:
        """TERM and wait, as often as `patience_s` has seconds to wait; then KILL."""
        for seconds in patience_s:
            if self._process.poll() is not None:
                return
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                # The next signal, or KILL below, is the answer to that.
                continue
        self._process.kill()
        self._process.wait()


def watch(words: Sequence[str], env: Mapping[str, str], others: Sequence[Program], limit_s: float) -> int:
    """Run a command on this terminal and return its exit status.

    Raises ProgramEnded when one of the `others` ends meanwhile, DemoProblem after `limit_s` seconds.
    """
    deadline = time.monotonic() + limit_s
    with subprocess.Popen([*_COMMAND, *words], env=dict(env), stdin=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    return process.wait(0.2)
                except subprocess.TimeoutExpired:
                    for other in others:
                        other.require_running()
                if time.monotonic() > deadline:
                    raise DemoProblem(f"the jobs were not done after {limit_s:.0f} s.")
        finally:
            process.terminate()


def _with_us() -> tuple[str, ...]:
    """Words before a command that end it when this process was killed and could not do so itself."""
    setpriv = shutil.which("setpriv")
    return () if setpriv is None else (setpriv, "--pdeathsig", "TERM", "--")
