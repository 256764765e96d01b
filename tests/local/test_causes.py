"""The likely cause of a failure, from what real programs say."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.local.causes import Scene, likely_cause
from jobrunner.pipeline import load

pytestmark = pytest.mark.unit

PIPELINE = load(
    b"""
version: '5.0'
actions:
  extract:
    run: python:v2 extract.py
    outputs: {highly_sensitive: {rows: output/rows.csv}}
  other:
    run: python:v2 other.py
    outputs: {highly_sensitive: {rows: output/other_*.csv}}
  model:
    run: python:v2 analysis/model.py
    needs: [extract]
    outputs: {moderately_sensitive: {t: output/t.csv}}
"""
).pipeline
assert PIPELINE is not None
SCENE = Scene(
    root=Path("/nowhere"),
    action=PIPELINE.actions["model"],
    actions=PIPELINE.actions,
    seen=frozenset({"analysis/model.py", "analysis/tools.py", "data/Codes.csv"}),
    reason="nonzero_exit",
    status=1,
    log="",
)
NO_FILE = "FileNotFoundError: [Errno 2] No such file or directory: '{}'"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("ModuleNotFoundError: No module named 'lifelines'", "has no Python module `lifelines`"),
        ("ModuleNotFoundError: No module named 'tools'", "the study has `analysis/tools.py`"),
        ("Error in library(mgcv) : there is no package called \u2018mgcv\u2019", "no R package `mgcv`"),
        (NO_FILE.format("output/rows.csv"), "action `extract` should write it, but did not"),
        (NO_FILE.format("output/other_1.csv"), "add `other` to the `needs` of `model`"),
        (NO_FILE.format("data/codes.csv"), "`data/Codes.csv` is: mind upper and lower case"),
        (NO_FILE.format("output/t.csv"), "is an output of this action itself"),
        (NO_FILE.format("/workspace/x.csv"), "`x.csv` is not there: no file of the study has this path"),
        ("cannot open file 'output/other_2.csv': No such file or directory", "add `other`"),
        (
            "python3: can't open file '/workspace/analysis/modl.py': [Errno 2]",
            "`analysis/modl.py` is not there",
        ),
        ("OSError: [Errno 30] Read-only file system: '/data/x'", "only paths of the study and /tmp"),
        ("requests: Temporary failure in name resolution", "there is none, here or in the data centre"),
        ("MemoryError", "ran out of memory"),
        ("Error: cannot allocate vector of size 9.1 Gb", "ran out of memory"),
        ("OSError: [Errno 28] No space left on device", "no space left"),
    ],
)
def test_what_programs_say(log: str, cause: str) -> None:
    said = likely_cause(replace(SCENE, log=f"Traceback\n{log}\n"))
    assert said is not None
    assert cause in said


@pytest.mark.parametrize(
    ("reason", "status", "cause"),
    [
        ("out_of_memory", 137, "ran out of memory"),
        ("nonzero_exit", 137, "was killed (status 137)"),
        ("nonzero_exit", 127, "no program for `analysis/model.py`"),
        ("nonzero_exit", 126, "is no program that the image"),
        ("outputs_missing", 0, "without writing all that `outputs` promises"),
        ("out_of_disk", 1, "no space left"),
    ],
)
def test_how_it_ended(reason: str, status: int, cause: str) -> None:
    said = likely_cause(replace(SCENE, reason=reason, status=status))
    assert said is not None
    assert cause in said


def test_what_git_ignores_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("x")
    said = likely_cause(replace(SCENE, root=tmp_path, log=NO_FILE.format("own.csv")))
    assert (
        said == "`own.csv` lies in your work tree, but git ignores it, so the study lacks it; add it to git."
    )


@given(st.text(), st.sampled_from(["", "No such file or directory: '", "No module named '"]))
def test_any_log_is_read(text: str, before: str) -> None:
    said = likely_cause(replace(SCENE, log=f"{before}{text}'"))
    assert said is None or said.endswith(".")


def test_nothing_known_is_nothing_said() -> None:
    assert likely_cause(replace(SCENE, log="it broke")) is None
