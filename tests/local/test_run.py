"""`jobrunner run` with real containers: what it runs, what it says, and what it leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.studies import command, commit, environment, jobrunner, left_behind, write

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Study = Callable[..., Path]
ONE = """\
version: '5.0'
actions:
  one:
    run: python:v2 analysis/one.py
    outputs: {moderately_sensitive: {t: output/one.csv}}
  two:
    run: python:v2 analysis/two.py
    needs: [one]
    outputs: {moderately_sensitive: {t: output/two.csv}}
"""
FILES = {
    "project.yaml": ONE,
    ".gitignore": "output/\n",
    "analysis/one.py": "open('output/one.csv', 'w').write('group,n\\nall,60\\n')\n",
    "analysis/two.py": "open('output/two.csv', 'w').write(open('output/one.csv').read())\n",
    "analysis/common.py": "LIMIT = 7\n",
}


@pytest.fixture
def study(tmp_path: Path, python_v2_image: str) -> Study:
    """study({"analysis/one.py": ...}) -> a committed work tree with these files instead of the usual."""
    del python_v2_image

    def make(files: dict[str, str] | None = None) -> Path:
        root = tmp_path / "home" / "study"
        write(root, FILES | (files or {}))
        commit(root)
        return root

    return make


def test_what_was_edited_or_deleted_by_hand_is_made_again(study: Study, engine: Any) -> None:
    root = study()
    assert jobrunner(root, "run", "two").ran == ["one", "two"]

    (root / "output" / "one.csv").write_text("edited")
    done = jobrunner(root, "run", "two")
    assert done.reason("one") == "runs: its output output/one.csv was changed by hand"
    assert done.ran == ["one"], "its output came out as before, so `two` is up to date"
    assert (root / "output" / "one.csv").read_text() == "group,n\nall,60\n"

    (root / "output" / "two.csv").unlink()
    done = jobrunner(root, "run", "two")
    assert (done.ran, done.reason("two")) == (["two"], "runs: its output output/two.csv was deleted")

    (root / "analysis" / "common.py").write_text("LIMIT = 5\n")
    done = jobrunner(root, "run", "two")
    assert done.ran == []
    note = "Note for one, two: analysis/common.py changed since; --fresh runs an action again in any case."
    assert done.out.splitlines()[-2] == note
    done = jobrunner(root, "run", "two", "--fresh")
    assert (done.ran, done.reason("two")) == (["two"], "runs: it was asked for with --fresh")
    done = jobrunner(root, "run", "two", "--force-needs")
    assert (done.ran, done.reason("one")) == (["one"], "runs: it was asked for with --force-needs")

    record = root / ".jobrunner" / "actions" / "one.json"
    record.write_text(
        json.dumps(json.loads(record.read_text()) | {"outputs": {"../../etc/passwd": "0" * 64}})
    )
    done = jobrunner(root, "run", "one")
    assert done.reason("one") == "runs: what was remembered of it cannot be used (it is damaged)"
    assert left_behind(engine, root) == []
    assert subprocess.run(
        ["git", "-C", str(root), "status", "--short"], capture_output=True, text=True, check=True
    ).stdout.split() == ["M", "analysis/common.py"]


def test_a_failure_says_why_and_spoils_nothing(study: Study, engine: Any) -> None:
    root = study()
    assert jobrunner(root, "run", "run_all").status == 0
    write(root, {"analysis/one.py": "print('\\x1b[31mred')\nimport survival_tools\n"})
    done = jobrunner(root, "run", "run_all")
    assert done.status == 1
    assert done.ran == ["one"]
    assert "one: failed (nonzero_exit): The command ended with status 1." in done.out
    assert "  | ModuleNotFoundError: No module named 'survival_tools'" in done.out
    assert "The image python:v2 has no Python module `survival_tools`" in done.out
    assert "\\x1b[31mred" in done.out, "a terminal must not obey what a script says"
    assert "\x1b" not in done.out
    assert "The whole log: .jobrunner/logs/one.log" in done.out
    assert "\x1b[31mred" in (root / ".jobrunner" / "logs" / "one.log").read_text()
    assert "two: failed (dependency_failed): It needs `one`, which did not succeed." in done.out
    assert (root / "output" / "one.csv").read_text() == "group,n\nall,60\n"

    again = jobrunner(root, "run", "one")
    assert "it failed when it last ran (nonzero_exit)" in again.reason("one")
    write(root, {"analysis/one.py": FILES["analysis/one.py"]})
    assert jobrunner(root, "run", "run_all").ran == ["one"]
    assert left_behind(engine, root) == []


def test_it_says_which_need_is_missing(study: Study) -> None:
    root = study({"project.yaml": ONE.replace("    needs: [one]\n", "")})
    assert jobrunner(root, "run", "one").status == 0
    done = jobrunner(root, "run", "two")
    assert done.status == 1
    assert (
        "Likely cause: `output/one.csv` is written by action `one`: add `one` to the `needs` of `two`."
        in done.out
    )


def test_nothing_is_written_through_a_link(study: Study, tmp_path: Path) -> None:
    root = study()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.csv").write_text("precious")
    (root / "output").symlink_to(outside)
    done = jobrunner(root, "run", "one")
    assert done.status == 1
    assert (
        "one: failed (outputs_refused): Output `output/one.csv` was refused: `output` in the work tree"
        in (done.out)
    )
    assert (outside / "one.csv").read_text() == "precious"

    (root / "output").unlink()
    (root / "output").mkdir()
    (root / "output" / "one.csv").symlink_to(outside / "one.csv")
    assert jobrunner(root, "run", "one").status == 1
    assert (outside / "one.csv").read_text() == "precious"


def test_outputs_that_are_no_longer_written_go_unless_they_were_edited(study: Study) -> None:
    script = "for name in {names!r}:\n    open(f'output/{{name}}.csv', 'w').write('group,n\\nall,60\\n')\n"
    pipeline = ONE.replace("output/one.csv", "output/*.csv").partition("  two:")[0]
    root = study({"project.yaml": pipeline, "analysis/one.py": script.format(names=["a", "b", "c"])})
    assert jobrunner(root, "run", "one").status == 0
    (root / "output" / "c.csv").write_text("mine now")
    write(root, {"analysis/one.py": script.format(names=["a"])})
    done = jobrunner(root, "run", "one")
    assert sorted(path.name for path in (root / "output").iterdir()) == ["a.csv", "c.csv"]
    assert (
        "`output/c.csv` was an output of an earlier run and was changed by hand since, so it stays."
        in done.out
    )


def test_actions_run_side_by_side(study: Study) -> None:
    wait = "import time\ntime.sleep(3)\nopen('output/{0}.csv', 'w').write('group,n\\nall,60\\n')\n"
    root = study(
        {
            "project.yaml": ONE.replace("    needs: [one]\n", ""),
            "analysis/one.py": wait.format("one"),
            "analysis/two.py": wait.format("two"),
        }
    )
    assert jobrunner(root, "run", "run_all", "--jobs", "2").out.splitlines()[1].startswith("two: runs")
    one_by_one = jobrunner(root, "run", "run_all", "--jobs", "1", "--fresh").out.splitlines()
    assert [line.split(" ")[1] for line in one_by_one[:4]] == ["runs:", "succeeded", "runs:", "succeeded"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_stops_it_finds_nothing_left(
    study: Study, engine: Any, number: signal.Signals, status: int
) -> None:
    root = study({"analysis/one.py": f"open('output/one.csv', 'w').write('n\\n')\n{DEAF}"})
    with running(root) as process:
        process.send_signal(number)
        assert process.wait(30) == status
    assert left_behind(engine, root) == []
    assert not (root / "output").exists()


DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(100)\n"


class running:
    """The command, once its container runs."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            command(root, "run", "one"), env=environment(root.parent), stdout=subprocess.PIPE, text=True
        )
        self._root = root

    def __enter__(self) -> "subprocess.Popen[str]":
        import docker

        from jobrunner.local.bench import label_of

        client = docker.APIClient(version="auto")
        filters = {"label": f"jobrunner.agent={label_of(self._root.resolve())}", "status": "running"}
        deadline = time.monotonic() + 30
        while not client.containers(filters=filters):
            assert time.monotonic() < deadline, "the action did not start"
            time.sleep(0.1)
        client.close()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def test_what_a_killed_run_left_is_removed_by_the_next(study: Study, engine: Any) -> None:
    root = study({"analysis/one.py": DEAF})
    with running(root) as process:
        busy = jobrunner(root, "run", "one")
        assert (busy.status, busy.out) == (1, "")
        assert "Another `jobrunner run` is at work in this folder." in busy.err
        process.kill()
        process.wait()
    assert len(left_behind(engine, root)) >= 2
    write(root, FILES)
    assert jobrunner(root, "run", "one").status == 0
    assert left_behind(engine, root) == []


STARTS_ITSELF = """
import subprocess, sys, docker, rich, typer, yaml
subprocess.run([sys.executable, "-c", ""], check=True)
"""


@pytest.fixture
def person(engine: Any) -> Iterator[tuple[Path, list[str]]]:
    """A home of somebody who is not root but may use the engine, and the words that become this person."""
    del engine
    home = Path(tempfile.mkdtemp(prefix="jobrunner-person-"))
    group = Path("/var/run/docker.sock").stat().st_gid
    words = ["setpriv", "--reuid=12345", "--regid=12345", f"--groups={group}"]
    os.chown(home, 12345, 12345)
    yield home, words
    shutil.rmtree(home)


def test_it_needs_no_root(person: tuple[Path, list[str]], python_v2_image: str) -> None:
    del python_v2_image
    home, words = person
    root = home / "study"
    write(root, FILES)
    for path in (root, *root.rglob("*")):
        os.chown(path, 12345, 12345)
    package = Path(__file__).parents[2]
    found = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    env = environment(home) | {"PYTHONPATH": ":".join(str(path) for path in (package, *found))}
    # The interpreter of the tests may lie in a home that is closed to others.
    pythons = [command(root, "run", "two")[0], "/usr/bin/python3"]
    usable = [
        python
        for python in pythons
        if subprocess.run(
            [*words, python, "-P", "-c", STARTS_ITSELF],
            env=env, capture_output=True, check=False,
        ).returncode == 0
    ]  # fmt: skip
    if not usable:
        pytest.skip("no Python that another user could start")
    done = subprocess.run(
        [*words, usable[0], *command(root, "run", "two")[1:]],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "output" / "two.csv").stat().st_uid == 12345
    assert (root / "output" / "two.csv").read_text() == "group,n\nall,60\n"
