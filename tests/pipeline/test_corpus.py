"""Real pipeline files, with the verdict of another reader of the format."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobrunner.pipeline import load
from jobrunner.pipeline.reporting import as_data

pytestmark = pytest.mark.unit

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "project_yaml"

#: Valid elsewhere, refused here on purpose: first 12 hex digits of the content's SHA-256, and the rule.
REFUSED_ON_PURPOSE = {
    "1c87ddbcc86d": "PS035",
    "a73561feb21c": "PS035",
    "50e7f2ecb89a": "PS020",
    "fdf87100d89c": "PS020",
}


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    if not CORPUS.is_dir():
        pytest.skip("the corpus of real files is not beside this tree")
    return [json.loads(line) for line in (CORPUS / "expected.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_real_files(expected: list[dict[str, Any]]) -> None:
    refused: dict[str, str] = {}
    for entry in expected:
        name = entry["sha12"]
        loaded = load((CORPUS / f"{name}.yaml").read_bytes())
        errors = {problem.id for problem in loaded.problems if problem.severity == "error"}
        if entry["verdict"] == "invalid":
            assert errors, f"{name} must be refused: {entry['reason']}"
            continue
        assert not {rule for rule in errors if rule.startswith("PY")}, name
        if errors:
            assert len(errors) == 1, name
            refused[name] = errors.pop()
            continue
        data = as_data(loaded)
        for key, value in entry["normalised"].items():
            assert data[key] == value, (name, key)
        assert_order_respects_needs(data)
    assert refused == REFUSED_ON_PURPOSE


def assert_order_respects_needs(data: dict[str, Any]) -> None:
    place = {name: number for number, name in enumerate(data["run_all_order"])}
    assert set(place) >= {action["id"] for action in data["actions"] if action["id"] != "run_all"}
    for action in data["actions"]:
        if action["id"] in place:
            assert all(place[need] < place[action["id"]] for need in action["needs"])
