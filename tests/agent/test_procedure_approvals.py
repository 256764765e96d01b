"""P02: an approval that counted when the job came is judged anew before start and before collecting.

Each case puts an attempt at that step with an approval that was good once and is no more: nothing starts, or
nothing that ran is read. Signatures, files and journal are real.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner.agent.approving import Approving
from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.policy import load_site
from jobrunner.agent.procedure import Procedure
from jobrunner.agent.results import Results
from jobrunner.sync.identity import job_id
from jobrunner.sync.vocabulary import Reason, Stage
from tests.agent.approvers import NOW, Approver, envelope, payload
from tests.agent.offers import offer
from tests.agent.policies import write_site
from tests.agent.test_procedure import Bench
from tests.agent.test_procedure_database import FACTS

pytestmark = pytest.mark.unit


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alice: Approver, bob: Approver) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    monkeypatch.undo()  # approvals are checked here
    place = write_site(tmp_path / "site", signers=alice.line() + bob.line(), approvals__revoked="revoked")
    (tmp_path / "site" / "revoked").write_text("")
    made.site = load_site(place)
    made.tools = replace(
        made.tools,
        site=made.site,
        results=Results(made.areas, made.engine, made.launcher, "north"),  # type: ignore[arg-type]
        approving=Approving(made.site, made.journal),
    )
    (made.work / "o" / "a.csv").write_text("x,n\na,1\n")
    yield made
    made.launcher.stop()


def placed(bench: Bench, step: Step, approval: str) -> Attempt:
    """An attempt at this step, with the approval that it came with."""
    made = offer(approval=approval)
    job = job_id(made.request_id, made.action)
    bench.journal.intend_claim(job, made)
    accepted = Accepted(1, "t" * 40, 60, {"slot": 0})
    bench.journal.accepted(job, 1, accepted, bench.reporter.stage(job, 1, Stage.PREPARING))
    bench.journal.advance(bench.read(job), step, facts=FACTS | {"dataset": None})
    return bench.read(job)


def revoke(bench: Bench, alice: Approver) -> None:
    assert bench.site.revoked is not None
    bench.site.revoked.write_text(alice.public + "\n")


def take_away(bench: Bench, alice: Approver) -> None:
    lines = bench.site.allowed_signers.read_text()
    bench.site.allowed_signers.write_text(lines.replace(alice.line(), ""))


def see_a_newer_one(bench: Bench, alice: Approver) -> None:
    del alice
    bench.journal.accept_approval("heart-study", 2, "0" * 64)


def nothing(bench: Bench, alice: Approver) -> None:
    del bench, alice


LAPSES: dict[str, tuple[Callable[[Bench, Approver], None], int, Reason, str]] = {
    "expired": (nothing, NOW - 1, Reason.APPROVAL_EXPIRED, "expired"),
    "revoked": (revoke, NOW + 3600, Reason.APPROVAL_INVALID, "revoked"),
    "taken-away": (take_away, NOW + 3600, Reason.APPROVAL_INVALID, "unknown_key"),
    "superseded": (see_a_newer_one, NOW + 3600, Reason.APPROVAL_INVALID, "superseded"),
}


@pytest.mark.parametrize("step", [Step.START, Step.COLLECT])
@pytest.mark.parametrize("lapse", LAPSES)
def test_P02_an_approval_that_lapsed_since_the_job_came_starts_and_collects_nothing(
    bench: Bench, alice: Approver, step: Step, lapse: str
) -> None:
    happen, not_after, reason, detail = LAPSES[lapse]
    attempt = placed(bench, step, envelope(payload(not_after=not_after), alice))
    if lapse != "expired":
        # It counted a moment ago, and this agent remembers that it did.
        bench.tools.approving.check(attempt.offer)
    happen(bench, alice)
    Procedure(bench.tools).run(*attempt.key)
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (reason, detail)
    assert "start" not in bench.engine.calls
    assert list(bench.site.high.rglob("a.csv")) == []
    assert bench.engine.calls[-1] == "clean_up"
    assert [event.reason for event in bench.told()] == [reason]


@pytest.mark.parametrize("step", [Step.START, Step.COLLECT])
def test_P02_twin_while_it_counts_the_same_job_is_collected(
    bench: Bench, alice: Approver, bob: Approver, step: Step
) -> None:
    attempt = placed(bench, step, envelope(payload(), alice))
    revoke(bench, bob)
    Procedure(bench.tools).run(*attempt.key)
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED
    assert list(bench.site.high.rglob("a.csv")) != []


def test_P02_an_approval_that_ends_while_the_container_runs_is_seen_when_it_has_ended(
    bench: Bench, alice: Approver, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = placed(bench, Step.START, envelope(payload(), alice))
    wait = bench.engine.wait

    def long(*given: object) -> object:
        revoke(bench, alice)
        return wait(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.engine, "wait", long)
    Procedure(bench.tools).run(*attempt.key)
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.APPROVAL_INVALID, "revoked")
    assert "start" in bench.engine.calls
    assert list(bench.site.high.rglob("a.csv")) == []


def test_P02_a_job_that_failed_by_itself_says_nothing_more_once_its_approval_has_lapsed(
    bench: Bench, alice: Approver
) -> None:
    attempt = placed(bench, Step.COLLECT, envelope(payload(), alice))
    bench.journal.advance(attempt, Step.COLLECT, facts={"status": 3})
    revoke(bench, alice)
    Procedure(bench.tools).run(*attempt.key)
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.APPROVAL_INVALID, "revoked")
