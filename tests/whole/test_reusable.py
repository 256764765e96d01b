"""A study that uses a reusable action, from the request to a moderately sensitive output."""

import json

import pytest
import requests

from tests.fixtures.git_fixtures import run_git
from tests.fixtures.world import World

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

PIPELINE = """\
version: '5.0'
actions:
  extract:
    run: python:v2 analysis/extract.py
    outputs: {highly_sensitive: {rows: output/rows.csv}}
  table:
    run: counter:v1.0 --column "age group"
    needs: [extract]
    config: {title: "It's due"}
    outputs: {moderately_sensitive: {table: output/table.csv}}
"""
EXTRACT = """\
from pathlib import Path
Path("output/rows.csv").write_text("age group\\n" + "old\\n" * 40)
"""
# It sees its own repository and the inputs, and nothing of the study.
MAIN = """\
import sys
from pathlib import Path
rows = Path("output/rows.csv").read_text().splitlines()
print("arguments", sys.argv[1:])
print("files", sorted(str(path) for path in Path(".").rglob("*") if path.is_file()))
Path("output/table.csv").write_text(f"group,n\\nall,{len(rows) - 1}\\n")
"""


def test_a_reusable_action_runs_its_own_code_on_the_studys_inputs(world: World) -> None:
    files = {"action.yaml": "run: python:v2 python app/main.py --quiet\n", "app/main.py": MAIN}
    counter = world.add_reusable_action("counter", files)
    run_git(counter.work, "tag", "--annotate", "--message", "one", "v1.0")
    run_git(counter.work, "push", "--quiet", str(counter.bare), "refs/tags/v1.0")
    study = world.add_study("heart", {"project.yaml": PIPELINE, "analysis/extract.py": EXTRACT})

    world.start_agent()
    refused = world.wait(study, world.ask(study, ["table"]))["jobs"]
    assert (refused["extract"]["state"], refused["table"]["state"]) == ("succeeded", "refused")
    assert refused["table"]["reason"] == "image_not_allowed"
    assert "set prefix in [reusable_actions]" in world.agent_log.read_text()

    world.kill_agent()
    world.allow_reusable_actions()
    world.start_agent()
    request = world.ask(study, ["table"])
    job = world.wait(study, request)["jobs"]["table"]
    assert (job["state"], job["reason"]) == ("succeeded", "completed")
    place = {"repo": world.git.url("reusable/counter"), "tag": "v1.0", "commit": counter.head}
    assert {name: job[f"code_{name}"] for name in place} == place
    page = requests.get(f"{world.url}/jobs/{request}", timeout=10).text
    assert "counter:v1.0" in page
    assert counter.head[:7] in page

    medium = world.workspace(study, world.medium)
    assert (medium / "output/table.csv").read_text() == "group,n\nall,40\n"
    log = (medium / "metadata/table.log").read_text()
    words = ["--quiet", "--column", "age group", "--config", '{"title": "It\\u0027s due"}']
    assert f"arguments {words}" in log
    assert "files ['action.yaml', 'app/main.py', 'output/rows.csv']" in log
    record = json.loads((world.high / "runs" / job["job_id"] / "1" / "metadata.json").read_text())
    assert record["code"] == place
    assert record["commit"] == study.repository.head
    assert record["tree"] == run_git(counter.work, "rev-parse", "HEAD^{tree}")
