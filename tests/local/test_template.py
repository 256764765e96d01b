"""The study that people copy, run as they would run it: green, then nothing, then only what must."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.local.studies import commit, jobrunner, left_behind

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

TEMPLATE = Path(__file__).parents[2] / "project_templates" / "python"
ACTIONS = ["extract", "describe", "model", "plot", "report"]


def test_it_runs_once_and_then_only_what_changed(
    engine: Any, python_v2_image: str, sqlrunner_v1_image: str, tmp_path: Path
) -> None:
    del python_v2_image, sqlrunner_v1_image
    root = tmp_path / "study"
    shutil.copytree(TEMPLATE, root)
    commit(root)

    first = jobrunner(root, "run", "run_all")
    assert (first.status, sorted(first.ran)) == (0, sorted(ACTIONS)), first
    assert first.ran[0] == "extract"
    assert first.ran[3:] == ["plot", "report"]
    assert (root / "output" / "report.md").stat().st_size > 0
    assert {first.reason(action) for action in ACTIONS} == {"runs: it has never succeeded here"}

    second = jobrunner(root, "run", "run_all")
    assert (second.status, second.ran) == (0, [])
    for action in ACTIONS:
        assert second.reason(action).startswith("up to date: definition, image, ")
    assert "Nothing to run" in second.out

    script = root / "analysis" / "plot.py"
    script.write_text(script.read_text().replace("dpi=120", "dpi=80") + "\n# another picture\n")
    planned = json.loads(jobrunner(root, "plan", "run_all", "--json").out)["actions"]
    assert {step["action"]: step["doing"] for step in planned} == {
        "extract": "up_to_date",
        "describe": "up_to_date",
        "model": "up_to_date",
        "plot": "run",
        "report": "maybe",
    }
    third = jobrunner(root, "run", "run_all")
    assert third.status == 0
    assert third.reason("plot") == "runs: analysis/plot.py changed"
    # The picture came out otherwise, and `report` reads it.
    assert third.ran == ["plot", "report"]
    assert third.reason("report") == "runs: its input output/figures/survival.png changed"
    note = "Note for extract, describe, model: analysis/plot.py changed since; --fresh runs an action again"
    assert third.out.count(note) == third.out.count("changed since") == 1
    assert third.out.splitlines()[-2].startswith(note)
    assert left_behind(engine, root) == []
