"""What goes wrong on the way has the word and the detail of threats.md section 6, and no others."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import yaml

from jobrunner.agent import procedure
from jobrunner.agent import results as results_module
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import workspace_of
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.halts import Cause
from jobrunner.agent.outcome import DETAILS, end
from jobrunner.executors.base import SandboxRefused
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason
from tests.agent.policies import IMAGE_ID
from tests.agent.test_procedure import Bench

pytestmark = pytest.mark.unit


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=str)])
    made = Bench(tmp_path, monkeypatch, images={"python:v2": {"id": IMAGE_ID, "entrypoint": ["x"]}})
    yield made
    made.launcher.stop()
    structlog.reset_defaults()


def ended(attempt: Attempt) -> tuple[str, str]:
    assert attempt.outcome is not None
    return attempt.outcome.reason.value, attempt.outcome.detail


def test_a_word_that_is_not_of_the_list_cannot_be_given() -> None:
    for reason, detail in [
        (Reason.TREE_REFUSED, "symlinks"), (Reason.TREE_REFUSED, ""), (Reason.NONZERO_EXIT, "137"),
        (Reason.APPROVAL_MISSING, "name"), (Reason.PIPELINE_INVALID, "PS1"), (Reason.SITE_POLICY, "PS001"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="has no detail"):
            end(reason, detail)
    assert end(Reason.PIPELINE_INVALID, "PS001").outcome.detail == "PS001"


def test_every_reason_with_details_is_one_that_an_attempt_may_end_with() -> None:
    ends = REASONS_OF_EXIT[ExitClass.FAILED] | REASONS_OF_EXIT[ExitClass.REFUSED]
    assert set(DETAILS) <= ends


@pytest.mark.parametrize(
    ("exit_facts", "reason"),
    [
        ({"status": 1}, "nonzero_exit"),
        ({"status": 137, "out_of_memory": True}, "out_of_memory"),
        ({"status": 1, "out_of_disk": True}, "out_of_disk"),
        ({"status": 0, "out_of_time": True}, "out_of_time"),
        ({"status": 137, "out_of_time": True, "out_of_memory": True}, "out_of_time"),
    ],
)
def test_a_command_that_did_not_end_well(bench: Bench, exit_facts: dict[str, Any], reason: str) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    assert ended(bench.run(bench.attempt(Step.COLLECT, **exit_facts))) == (reason, "")
    assert list((bench.site.high / "runs").rglob("a.csv")) == []


@pytest.mark.parametrize(
    ("detail", "told", "halts"),
    [
        ("sandbox", ("site_policy", "sandbox"), True),
        ("runtime", ("site_policy", "runtime"), True),
        ("volume", ("image_not_allowed", "volume"), False),
        ("image", ("internal_error", "image"), False),
        ("database", ("internal_error", "database"), False),
        ("disk_low", ("internal_error", "disk_low"), False),
    ],
)
def test_a_sandbox_that_cannot_be_had(bench: Bench, detail: str, told: tuple[str, str], halts: bool) -> None:
    bench.engine.trouble = {"prepare": [SandboxRefused(detail, "why")]}
    assert ended(bench.run(bench.attempt(Step.START))) == told
    assert "start" not in bench.engine.calls
    assert bench.halted == (["why"] if halts else [])


@pytest.mark.parametrize(
    ("cause", "detail"), [(Cause.CONTAINER, "runtime"), (Cause.CANARY, "runtime"), (Cause.CLOCK, "clock")]
)
def test_an_attempt_that_was_claimed_before_the_halt_does_not_start(
    bench: Bench, cause: Cause, detail: str
) -> None:
    bench.tools.desk.halt(cause, "Why.")
    assert ended(bench.run(bench.attempt(Step.START))) == ("site_policy", detail)
    assert bench.engine.calls == ["stop", "clean_up"]


@pytest.mark.parametrize(("places", "told"), [(0, "image"), (1, None)])
def test_a_site_that_lost_its_database_meanwhile(bench: Bench, places: int, told: str | None) -> None:
    bench.tools = replace(bench.tools, desk=Desk(2, places))
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    after = bench.run(bench.attempt(Step.STAGE, dataset="flchain"))
    assert ended(after) == (("database_not_allowed", told) if told else ("completed", ""))


def test_database_places_that_stay_busy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedure, "_DATABASE_PATIENCE_S", 0.05)
    bench.tools = replace(bench.tools, desk=Desk(1, 1))
    bench.tools.desk.occupy(7, database=True)
    assert ended(bench.run(bench.attempt(Step.STAGE, dataset="flchain"))) == ("internal_error", "database")


# --- what a job needs ---


def made_before(bench: Bench) -> Attempt:
    """A run of action `act` whose output is the current one of its workspace."""
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    done = bench.run(bench.attempt(Step.START))
    assert ended(done) == ("completed", "")
    return done


def test_a_need_that_has_outputs_is_staged(bench: Bench) -> None:
    made_before(bench)
    (bench.work / "o/a.csv").rename(bench.work / "o/b.csv")
    after = bench.run(bench.attempt(Step.STAGE, needs=["act"], patterns=[["o/b.csv", "highly_sensitive"]]))
    assert ended(after) == ("completed", "")
    assert [row[0] for row in after.facts["inputs"]] == ["o/a.csv"]


def test_a_need_without_outputs(bench: Bench) -> None:
    assert ended(bench.run(bench.attempt(Step.STAGE, needs=["act"]))) == ("internal_error", "input_missing")


def test_a_need_whose_file_is_gone(bench: Bench) -> None:
    before = made_before(bench)
    [stored] = (bench.site.high / "runs" / before.job_id).rglob("a.csv")
    stored.unlink()
    assert ended(bench.run(bench.attempt(Step.STAGE, needs=["act"]))) == ("internal_error", "input_missing")


def test_a_need_whose_file_is_another_one_now(bench: Bench) -> None:
    before = made_before(bench)
    [stored] = (bench.site.high / "runs" / before.job_id).rglob("a.csv")
    stored.chmod(0o644)
    stored.write_text("x,n\na,2\n")
    os.utime(stored, ns=(1, 1))
    assert ended(bench.run(bench.attempt(Step.STAGE, needs=["act"]))) == ("internal_error", "input_changed")


def test_a_need_whose_record_is_another_one_now(bench: Bench) -> None:
    before = made_before(bench)
    [record] = (bench.site.high / "runs" / before.job_id).rglob("metadata.json")
    record.write_text("{}")
    assert ended(bench.run(bench.attempt(Step.STAGE, needs=["act"]))) == ("internal_error", "input_changed")


def test_J09_outputs_of_another_branch_under_the_same_name_are_no_inputs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The name of a workspace is cut short, so that two could be one.
    name = workspace_of(made_before(bench))
    monkeypatch.setattr(results_module, "workspace_of", lambda _attempt: name)
    after = bench.run(bench.attempt(Step.STAGE, branch="other", needs=["act"]))
    assert ended(after) == ("internal_error", "input_missing")


# --- what the commit says ---


def fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch, pipeline: object) -> Attempt:
    """An attempt whose commit holds this project.yaml; the fetch itself has tests of its own."""
    pin = SimpleNamespace(pipeline_file=yaml.safe_dump(pipeline).encode(), commit=SimpleNamespace(tree="t"))
    monkeypatch.setattr(procedure, "extract", lambda *_arguments: Path("/srv/t"))
    bench.tools = replace(bench.tools, pins=SimpleNamespace(pin=lambda *_arguments: pin))  # type: ignore[arg-type]
    return bench.run(bench.attempt(Step.FETCH))


def a_pipeline(**action: object) -> dict[str, object]:
    outputs = {"highly_sensitive": {"a": "o/*.csv"}}
    return {"version": "5.0", "actions": {"act": {"run": "python:v2 a.py", "outputs": outputs, **action}}}


def test_an_image_that_the_engine_does_not_have(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.engine, "image_present", lambda _image_id: False)
    assert ended(fetched(bench, monkeypatch, a_pipeline())) == ("internal_error", "image")
    assert "prepare" not in bench.engine.calls


def test_a_commit_that_is_fine_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    assert ended(fetched(bench, monkeypatch, a_pipeline())) == ("completed", "")
