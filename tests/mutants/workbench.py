"""A copy of the tree in which one protection after the other is taken out, and its tests run."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Final
from xml.etree import ElementTree

from tests.mutants import warm
from tests.mutants.catalogue import Change

PASSED: Final = "passed"
FAILED: Final = "failed"
ERROR: Final = "error"
SKIPPED: Final = "skipped"
MISSING: Final = "not collected"
TIMED_OUT: Final = "ran out of time"

_LAYERS: Final = "import site; site.addsitedir({!r})"


class Workbench:
    """`folder` is made anew with what git knows of `root`, and with an environment that imports from there.

    The environment has the packages of the one that runs this, but `jobrunner`, its commands and whatever
    they start come from the copy, also where a test starts Python with nothing from its own environment.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree = folder / "tree"
        self._reports = folder / "report.xml"
        self._temporary = folder / "tmp"
        self._moment = count(1)
        _copy_tree(root, self.tree)
        self._python = _make_environment(self.tree)
        self._warm = _Warm(self._python, self.tree)

    @contextmanager
    def without(self, changes: Sequence[Change]) -> Iterator[None]:
        """The tree with these changes made, for the time of the block."""
        before = {change.file: (self.tree / change.file).read_text(encoding="utf-8") for change in changes}
        after = dict(before)
        for change in changes:
            after[change.file] = after[change.file].replace(change.old, change.new)
        try:
            self._write(after)
            yield
        finally:
            self._write(before)

    def _write(self, files: dict[str, str]) -> None:
        for file, text in files.items():
            path = self.tree / file
            path.write_text(text, encoding="utf-8")
            # Python takes compiled code for current by size and second of change: each state gets its own.
            second = int(path.stat().st_mtime) + next(self._moment)
            os.utime(path, (second, second))

    def run(self, nodes: Sequence[str], limit_s: float) -> dict[str, str]:
        """How each of these tests ended, by its node: the worst of its cases. Kills all after `limit_s`."""
        self._reports.unlink(missing_ok=True)
        shutil.rmtree(self._temporary, ignore_errors=True)
        arguments = [*nodes, "-q", "--tb=no", "-p", "no:cacheprovider", "-o", f"timeout={limit_s:g}"]
        arguments += [f"--junitxml={self._reports}", f"--basetemp={self._temporary}"]
        if len(nodes) == 1:
            arguments.append("--exitfirst")  # one failed case is enough
        try:
            if not self._warm.run(arguments, limit_s):
                return dict.fromkeys(nodes, TIMED_OUT)
        finally:
            _end_leftovers(self._python, self._warm.pid)
        return _read_report(self._reports, nodes)

    def close(self) -> None:
        """End what runs. Safe to call from another thread; a `run` that it ends raises EOFError."""
        self._warm.close()


class _Warm:
    """The process of `warm.py` that runs pytest again and again."""

    def __init__(self, python: Path, tree: Path) -> None:
        self._child = 0
        self._process = subprocess.Popen(
            # Its own folder is not to be searched: what is in it is no part of the tree.
            [str(python), "-P", warm.__file__, *([] if _has_plugins() else ["pytest"])],
            cwd=tree,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, arguments: Sequence[str], limit_s: float) -> bool:
        """Run pytest to its end, or for `limit_s`; says whether it came to its end. Raises EOFError."""
        over = time.monotonic() + limit_s
        _pipe(self._process.stdin).write(json.dumps(list(arguments)).encode() + b"\n")
        self._child = self._answer()
        in_time = self._has_answer(over - time.monotonic())
        if not in_time:
            self._kill_child()
        self._answer()
        self._child = 0
        return in_time

    def close(self) -> None:
        self._process.kill()
        self._kill_child()
        self._process.wait()

    def _has_answer(self, seconds: float) -> bool:
        return bool(select.select([self._process.stdout], [], [], max(0.0, seconds))[0])

    def _answer(self) -> int:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise EOFError("the process that runs the tests has ended")
        return int(line)

    def _kill_child(self) -> None:
        if self._child:
            with suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGKILL)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise EOFError("there is no pipe")
    return stream


def _has_plugins() -> bool:
    return not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")


def _environment() -> dict[str, str]:
    """That of the caller, without what would have Python look elsewhere or compile everything each time."""
    unwanted = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "JOBRUNNER_MUTANTS": "1"}


def _end_leftovers(python: Path, warm_pid: int) -> None:
    """Programs that a test started in a session of their own, and that outlived it without the protection."""
    ours = os.fsencode(python.parent)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != warm_pid:
            try:
                if (entry / "cmdline").read_bytes().startswith(ours):
                    os.kill(int(entry.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile


def _copy_tree(root: Path, tree: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout.decode("utf-8")
    for name in filter(None, listed.split("\0")):
        source, target = root / name, tree / name
        if source.is_file() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _make_environment(tree: Path) -> Path:
    """`tree/.venv`: no package of its own, first the tree, then those of the running environment."""
    place = tree / ".venv"
    venv.EnvBuilder(symlinks=True).create(place)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = sysconfig.get_path("purelib")
    lines = [str(tree), _LAYERS.format(packages)]
    (place / "lib" / version / "site-packages" / "mutants.pth").write_text("\n".join(lines) + "\n")
    python = place / "bin" / "python"
    for program in Path(sysconfig.get_path("scripts")).iterdir():
        target = place / "bin" / program.name
        if not target.exists() and not target.is_symlink():
            _copy_program(program, target, python)
    return python


def _copy_program(program: Path, target: Path, python: Path) -> None:
    first, _, rest = program.read_bytes().partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        target.write_bytes(b"#!" + os.fsencode(python) + b"\n" + rest)
        target.chmod(0o755)
    else:
        target.symlink_to(program)


def _read_report(report: Path, nodes: Sequence[str]) -> dict[str, str]:
    """The worst outcome of each test's cases; a test that pytest does not speak of was not collected."""
    # A test that fails may leave its cleaning up in trouble too; that it failed is what counts.
    worst = [MISSING, PASSED, SKIPPED, ERROR, FAILED]
    outcomes = dict.fromkeys(nodes, MISSING)
    if not report.exists():
        return outcomes
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314 (pytest wrote it just now)
        file = f"{case.get('classname', '').replace('.', '/')}.py"
        node = f"{file}::{case.get('name', '').partition('[')[0]}"
        if node in outcomes:
            outcomes[node] = max(outcomes[node], _outcome(case), key=worst.index)
    return outcomes


def _outcome(case: ElementTree.Element) -> str:
    for tag, outcome in (("failure", FAILED), ("error", ERROR), ("skipped", SKIPPED)):
        if case.find(tag) is not None:
            return outcome
    return PASSED
