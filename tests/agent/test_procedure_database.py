"""S13: the approval of a job that reads the database is looked at again before start and collecting."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approving import Approving
from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.policy import load_site
from jobrunner.agent.procedure import Procedure
from jobrunner.agent.results import Results
from jobrunner.executors.base import ActionRun
from jobrunner.sync.identity import job_id
from jobrunner.sync.vocabulary import Reason, Stage
from tests.agent.approvers import Approver, envelope, payload
from tests.agent.offers import offer
from tests.agent.policies import IMAGE_ID, write_site
from tests.agent.test_procedure import Bench, ScriptedEngine
from tests.fixtures.database_files import make_database

pytestmark = pytest.mark.unit

FACTS: dict[str, Any] = {
    "image_id": IMAGE_ID, "entrypoint": ["/x"], "argv": ["y"], "needs": [], "tree": "t",
    "tree_folder": "/srv/t", "patterns": [["o/*.csv", "highly_sensitive"]], "actions": ["act"],
    "environment": {}, "inputs": [], "begun": 9, "started": 10, "finished": 20, "status": 0,
    "out_of_memory": False, "out_of_time": False, "out_of_disk": False,
}  # fmt: skip


class Watched(ScriptedEngine):
    """Keeps the run that it was asked to start."""

    started: ActionRun | None = None

    def start(self, run: ActionRun) -> None:
        self.started = run
        super().start(run)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alice: Approver) -> Any:
    made = Bench(tmp_path, monkeypatch)
    monkeypatch.undo()  # approvals are checked here
    database = {
        "dataset": "flchain", "kind": "sqlite", "file": str(make_database(tmp_path / "rows").path),
        "images": {IMAGE_ID: "any"},
    }  # fmt: skip
    made.site = load_site(write_site(tmp_path / "site", signers=alice.line(), database=database))
    made.engine = Watched(made.work)
    results = Results(made.areas, made.engine, made.launcher, "north")  # type: ignore[arg-type]
    made.tools = replace(
        made.tools,
        site=made.site,
        executor=made.engine,  # type: ignore[arg-type]
        results=results,
        approving=Approving(made.site, made.journal),
    )
    (made.work / "o" / "a.csv").write_text("x,n\na,1\n")
    yield made
    made.launcher.stop()


Run = Callable[..., Attempt]


@pytest.fixture
def run(bench: Bench, alice: Approver) -> Run:
    """Run an attempt from a step to its end; `dataset` is what was found when the job was derived."""

    def go(step: Step, dataset: str | None, **approval: Any) -> Attempt:
        made = offer(approval=envelope(payload(**approval), alice))
        job = job_id(made.request_id, made.action)
        bench.journal.intend_claim(job, made)
        accepted = Accepted(1, "t" * 40, 60, {"slot": 0})
        bench.journal.accepted(job, 1, accepted, bench.reporter.stage(job, 1, Stage.PREPARING))
        bench.journal.advance(bench.read(job), step, facts=FACTS | {"dataset": dataset})
        Procedure(bench.tools).run(job, 1)
        return bench.read(job)

    return go


def ended(attempt: Attempt) -> tuple[Reason, str]:
    assert attempt.outcome is not None
    return attempt.outcome.reason, attempt.outcome.detail


def kept(bench: Bench) -> list[Path]:
    """Copies of the output, wherever they are."""
    return list(bench.site.high.rglob("a.csv"))


@pytest.mark.parametrize("step", [Step.START, Step.COLLECT])
@pytest.mark.parametrize(
    ("approval", "detail"),
    [({}, "approval"), ({"database": True, "datasets": ["other"]}, "dataset")],
)
def test_S13_without_the_database_in_the_approval_it_goes_no_further(
    bench: Bench, run: Run, step: Step, approval: dict[str, Any], detail: str
) -> None:
    assert ended(run(step, "flchain", **approval)) == (Reason.DATABASE_NOT_ALLOWED, detail)
    assert "start" not in bench.engine.calls
    assert kept(bench) == []
    assert bench.engine.calls[-1] == "clean_up"


@pytest.mark.parametrize("step", [Step.START, Step.COLLECT])
def test_S13_twin_with_it_the_job_reads_the_database(bench: Bench, run: Run, step: Step) -> None:
    attempt = run(step, "flchain", database=True, datasets=["flchain"])
    assert ended(attempt) == (Reason.COMPLETED, "")
    assert kept(bench)
    if step is Step.START:
        assert isinstance(bench.engine, Watched)
        assert bench.engine.started is not None
        assert bench.engine.started.database == bench.site.database is not None


def test_S13_no_other_job_gets_it_whatever_was_signed(bench: Bench, run: Run) -> None:
    attempt = run(Step.START, None, database=True, datasets=["flchain"])
    assert ended(attempt) == (Reason.COMPLETED, "")
    assert isinstance(bench.engine, Watched)
    assert bench.engine.started is not None
    assert bench.engine.started.database is None
