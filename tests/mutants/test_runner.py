"""The runner itself, on a small tree: what is killed, what survives, what cannot be judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.__main__ import chosen
from tests.mutants.collected import collected_tests

pytestmark = [pytest.mark.unit, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PRODUCT = """\
def check(value: int) -> bool:
    if value < 0:
        return False
    if value > 9:
        return False
    return True
"""
TESTS = """\
import subprocess, sys
import pytest
from jobrunner.wall import check

pytestmark = pytest.mark.unit

def test_Z01_low() -> None:
    # Also what a test starts must see the change, whatever environment it gives.
    program = "from jobrunner.wall import check; print(check(-1))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, env={})
    assert done.stdout == "False\\n"

def test_Z01_good() -> None:
    assert check(5)

def test_Z01_wrong() -> None:
    assert check(99)
"""
SETTINGS = """\
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p pytest_timeout"
markers = ["unit"]
"""
CATALOGUE = """\
[Z01]
attack = "values that are out of bounds"
marks = ["unit"]
tests = ["test_Z01_low", "test_Z01_good", "test_Z01_wrong"]
[[Z01.protections]]
id = "low"
what = "no value below the lowest"
file = "jobrunner/wall.py"
old = '''
    if value < 0:
        return False
'''
must_fail = ["test_Z01_low"]
[[Z01.protections]]
id = "high"
what = "no value above the highest"
file = "jobrunner/wall.py"
old = "value > 9"
new = "value > 90"
must_fail = ["test_Z01_good"]
[[Z01.protections]]
id = "wrong"
what = "a test that fails in any case proves nothing"
file = "jobrunner/wall.py"
old = "value > 9"
new = "value > 90"
must_fail = ["test_Z01_wrong"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    files = {
        "jobrunner/__init__.py": "",
        "jobrunner/wall.py": PRODUCT,
        "tests/test_wall.py": TESTS,
        "tests/attacks/catalogue.toml": CATALOGUE,
        "pyproject.toml": SETTINGS,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutants", "--root", str(tree), *words]
    # The small tree needs none of the plugins of the large one, which take seconds to load.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_each_protection_gets_its_verdict(tree: Path) -> None:
    done = run(tree)
    assert done.returncode == 1
    assert "| Z01-low | no value below the lowest | test_Z01_low | killed |" in done.stdout
    assert "| Z01-high | no value above the highest | test_Z01_good | **survived** (passed) |" in done.stdout
    assert "**broken** (failed with the protection)" in done.stdout
    assert "3 protections: 1 killed, 1 survived, 1 broken" in done.stdout
    assert (tree / "jobrunner/wall.py").read_text() == PRODUCT
    # What is known by now is counted without another run.
    counted = run(tree, "--summary").stdout.splitlines()
    assert "| Z01 | 3 | 1 | 1 | 1 |" in counted
    assert counted[-3:-1] == ["survived: Z01-high", "broken: Z01-wrong"]


def test_what_is_known_is_not_run_again_until_something_changes(tree: Path) -> None:
    first = run(tree, "--only", "Z01-low")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "1/1 Z01-low: killed" in first.stdout
    again = run(tree, "--only", "Z01-low")
    assert again.returncode == 0
    assert "1/1" not in again.stdout
    assert "1 protections: 1 killed" in again.stdout
    assert json.loads((tree / ".mutants/results.json").read_text())["Z01-low"]["tests"]

    (tree / "jobrunner/wall.py").write_text(PRODUCT + "\n")
    assert "1/1 Z01-low: killed" in run(tree, "--only", "Z01-low").stdout


def test_shards_share_the_work(tree: Path) -> None:
    tests = collected_tests(tree)
    shards = [chosen(tree, tests, ["unit"], [], (part, 2)) for part in (1, 2)]
    assert [[one.id for one in shard] for shard in shards] == [["Z01-low", "Z01-wrong"], ["Z01-high"]]
    assert chosen(tree, tests, ["docker"], [], (1, 1)) == []
    assert [one.id for one in chosen(tree, tests, ["docker"], ["Z01-w"], (1, 1))] == ["Z01-wrong"]
