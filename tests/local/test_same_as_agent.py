"""The same commit, run on a laptop and by the agent: same outputs, same refusals, in the same words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.world import World
from tests.local.studies import commit, jobrunner, write

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

PIPELINE = """\
version: '5.0'
actions:
  make:
    run: python:v2 analysis/make.py --config-free
    outputs:
      highly_sensitive: {rows: output/rows.csv}
  tables:
    run: python:v2 analysis/tables.py
    needs: [make]
    config: {title: "It's due"}
    outputs:
      moderately_sensitive:
        all: output/tables/*.csv
        page: output/page.html
        model: output/model.txt
  missing:
    run: python:v2 analysis/missing.py
    outputs: {moderately_sensitive: {t: output/missing/table.csv}}
  refused:
    run: python:v2 analysis/refused.py
    outputs: {moderately_sensitive: {t: output/refused/*.csv}}
  changes_input:
    run: python:v2 analysis/changes.py
    needs: [make]
    outputs: {highly_sensitive: {t: output/*.csv}}
  breaks:
    run: python:v2 analysis/breaks.py
    outputs: {moderately_sensitive: {t: output/breaks.csv}}
"""
FILES = {
    "project.yaml": PIPELINE,
    "analysis/make.py": (
        "import os, sys\n"
        "assert sys.argv[1:] == ['--config-free'], sys.argv\n"
        "assert not os.path.exists('output/tables') and os.path.isdir('output')\n"
        "open('output/rows.csv', 'w').write('id,age\\n' + ''.join(f'{n},{n % 90}\\n' for n in range(300)))\n"
    ),
    "analysis/tables.py": (
        "import json, sys\n"
        "assert json.loads(sys.argv[2]) == {'title': \"It's due\"}\n"
        "rows = open('output/rows.csv').read().splitlines()[1:]\n"
        "open('output/tables/good.csv', 'w').write(f'group,n\\nall,{len(rows)}\\n')\n"
        "open('output/tables/rows.csv', 'w').write('patient_id,age\\n' + '\\n'.join(rows) + '\\n')\n"
        "open('output/page.html', 'w').write('<p>all</p>')\n"
        "open('output/model.txt', 'wb').write(b'\\x80\\x04K\\x01.')\n"
        "print('looked at all rows')\n"
    ),
    "analysis/missing.py": "open('output/missing/Table.csv', 'w').write('a\\n1\\n')\n",
    "analysis/refused.py": (
        "import os\nopen('output/refused/a.csv', 'w').write('a\\n')\n"
        "os.link('output/refused/a.csv', 'output/refused/b.csv')\n"
    ),
    "analysis/changes.py": (
        "import os\nopen('output/more.csv', 'w').write('x\\n')\n"
        "open('output/new', 'w').write('x\\n')\nos.replace('output/new', 'output/rows.csv')\n"
    ),
    "analysis/breaks.py": "import sys\nprint('it breaks here')\nsys.exit(3)\n",
}


@pytest.fixture
def world(tmp_path: Path, python_v2_image: str) -> Iterator[World]:
    root = tmp_path / "world"
    root.mkdir()
    with World(root, images={"python:v2": python_v2_image}) as made:
        yield made


def last_words(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("[jobrunner] ")]


def test_outputs_and_refusals_are_the_same(world: World, tmp_path: Path) -> None:
    study = world.add_study("parity", FILES)
    names = ["make", "tables", "missing", "refused", "changes_input", "breaks"]
    request = world.ask(study, ["run_all"])
    world.start_agent()
    jobs = world.wait(study, request, timeout_s=200)["jobs"]

    root = tmp_path / "laptop" / "study"
    write(root, FILES)
    commit(root)
    done = jobrunner(root, "run", "run_all")
    assert done.status == 1
    assert "4 did not" in done.out, done

    reasons = {name: jobs[name]["reason"] for name in names}
    assert reasons == {
        "make": "completed",
        "tables": "completed",
        "missing": "outputs_missing",
        "refused": "outputs_refused",
        "changes_input": "outputs_refused",
        "breaks": "nonzero_exit",
    }
    manifest = json.loads((world.workspace(study, world.high) / "metadata" / "manifest.json").read_text())
    for name in ("make", "tables"):
        record: dict[str, Any] = json.loads((root / ".jobrunner" / "actions" / f"{name}.json").read_text())
        theirs = {path: one for path, one in manifest["outputs"].items() if one["action"] == name}
        assert record["outputs"] == {path: one["content_hash"] for path, one in theirs.items()}
        assert record["levels"] == {path: one["level"] for path, one in theirs.items()}
        assert record["refused"] == {path: one["message"] for path, one in theirs.items() if one["excluded"]}
        for path in record["outputs"]:
            inside = (world.workspace(study, world.high) / path).read_bytes()
            assert (root / path).read_bytes() == inside
    assert set(record["refused"]) == {"output/tables/rows.csv", "output/page.html", "output/model.txt"}

    for name in names[2:]:
        run = jobs[name]["job_id"]
        theirs_log = (world.high / "runs" / run / "1" / "log").read_text()
        ours_log = (root / ".jobrunner" / "logs" / f"{name}.log").read_text()
        assert last_words(ours_log) == last_words(theirs_log)
        assert f"{name}: failed ({reasons[name]})" in done.out
    assert not list((root / "output").glob("more.csv"))
    assert not (root / "output" / "missing").exists()


def test_the_reasons_of_a_commit_that_the_agent_refuses(world: World, tmp_path: Path) -> None:
    files = FILES | {"analysis/con.csv": "x\n"}
    study = world.add_study("parity", files)
    request = world.ask(study, ["make"])
    world.start_agent()
    job = world.wait(study, request, timeout_s=60)["jobs"]["make"]
    assert (job["state"], job["reason"]) == ("refused", "tree_refused")
    root = tmp_path / "laptop" / "study"
    write(root, files)
    commit(root)
    done = jobrunner(root, "run", "make")
    assert done.status == 1
    assert "'con.csv' is refused: some systems take it for a device." in done.err
    assert "'con.csv' is refused: some systems take it for a device." in world.agent_log.read_text()
