"""Files made to cost much are answered in bounded time and memory, each in a process of its own."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.hostile import HOSTILE

MIB = 1024 * 1024

#: What issue and threats name: these must be answered at once.
AT_ONCE = [name for name in HOSTILE if "bomb" in name or "100 MB" in name or name.startswith("depth")]

pytestmark = pytest.mark.unit

_LOAD = """\
import json, resource, sys
from jobrunner.pipeline import load
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF)
loaded = load(data)
after = resource.getrusage(resource.RUSAGE_SELF)
spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([spent, loaded.valid, sorted({problem.id for problem in loaded.problems})]))
"""


def limit(memory: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def answer(text: bytes, memory: int) -> tuple[float, bool, list[str]]:
    """Seconds of processor time of `load`, whether it is valid, and the rules; within that memory."""
    ended = subprocess.run(
        [sys.executable, "-c", _LOAD], input=text, capture_output=True, check=False, preexec_fn=limit(memory)
    )
    assert ended.returncode == 0, ended.stderr.decode()[-500:]
    found: list[Any] = json.loads(ended.stdout)
    return found[0], found[1], found[2]


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_far_too_much_is_refused_at_once(name: str) -> None:
    seconds, valid, rules = answer(HOSTILE[name](), 500 * MIB)

    assert seconds < 2
    assert not valid
    assert rules in (["PS001"], ["PS002"], ["PS003"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in AT_ONCE])
def test_the_most_that_is_read_takes_seconds_and_not_minutes(name: str) -> None:
    """Near-linear: what grows with the square of the file would take hours here."""
    seconds, _, _ = answer(HOSTILE[name](), 1_200 * MIB)

    assert seconds < 30


@pytest.mark.parametrize("form", ["--json", "--format=github", "--format=text"])
def test_the_command_reads_no_more_of_a_large_file_than_it_needs(tmp_path: Path, form: str) -> None:
    file = tmp_path / "project.yaml"
    with file.open("wb") as large:
        large.truncate(100_000_000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    ended = subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", "check", str(file), form],
        capture_output=True,
        check=False,
        preexec_fn=limit(200 * MIB),
    )

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 1, ended.stderr
    assert b"PS001" in ended.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
