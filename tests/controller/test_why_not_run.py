"""What is told about a job that did not run, that waits for an agent that drains, or that runs now."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobrunner import __version__
from jobrunner.controller.api.agent_calls import Call, begin_poll, hello
from jobrunner.controller.jobs.cancelling import cancel_request
from jobrunner.controller.jobs.describing import JobFacts, describe
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.pausing import set_paused
from jobrunner.controller.jobs.tally import summary, tallies, tally
from jobrunner.controller.jobs.transitions import REASONS, State
from jobrunner.sync.messages import PROTOCOL, Hello, Poll, Slots
from jobrunner.sync.vocabulary import ExitClass, Reason, Runtime
from tests.fixtures.controller_rows import BEGIN, Rows, job

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

OLD, NEW = "0123456789abcdef" + "0" * 24, "b" * 40


def told(rows: Rows, request: JobRequest | None, action: str) -> JobFacts:
    assert request is not None
    (facts,) = describe([request], now=rows.now)
    return next(found for found in facts.jobs if found.action == action)


def summed_up(rows: Rows, request: JobRequest | None) -> str:
    assert request is not None
    (facts,) = describe([request], now=rows.now)
    assert tallies([request.pk])[request.pk] == facts.counts
    return summary(facts.counts)


def test_a_run_of_another_commit_is_named_with_its_commit_its_time_and_the_way_out() -> None:
    rows = Rows()
    rows.finish(job(rows.ask("extract", commit=OLD), "extract"))
    rows.tick(3600)
    found = told(rows, rows.ask("count", commit=NEW), "extract")
    assert found.why == (
        "It did not run again: its run that succeeded at 2026-03-01 12:00 UTC serves, at commit "
        "0123456789ab, which is not the one asked for. That is an older run of another "
        "commit; `--force` (or naming the action) runs it at this commit."
    )
    assert found.serving is not None
    assert not found.serving.same_commit
    assert (found.reused_commit, found.running_s) == (OLD, None)


def test_a_run_of_the_commit_asked_for_is_told_apart() -> None:
    rows = Rows()
    rows.finish(job(rows.ask("extract", commit=OLD), "extract"))
    found = told(rows, rows.ask("count", commit=OLD), "extract")
    assert found.why.endswith("serves, at commit 0123456789ab, the one asked for.")
    assert "--force" in found.next_step


def test_only_a_failure_between_the_success_and_the_asking_is_told() -> None:
    rows = Rows()
    rows.fail(job(rows.ask("extract", commit=OLD), "extract"))
    rows.tick(60)
    rows.finish(job(rows.ask("extract", commit=OLD), "extract"))
    before = rows.ask("count", commit=OLD)
    cancel_request(before, None, now=rows.now)  # type: ignore[arg-type]
    rows.tick(3600)
    rows.fail(job(rows.ask("extract", commit=NEW), "extract"), Reason.OUT_OF_MEMORY)
    rows.tick(60)
    # It did not run, so it is no later failure.
    waiting = rows.ask("extract", commit=NEW)
    cancel_request(waiting, None, now=rows.now)  # type: ignore[arg-type]
    after = rows.ask("count", commit=OLD)
    assert "failed" not in told(rows, before, "extract").why
    said = told(rows, after, "extract").why
    assert said.endswith(
        "A later run of it failed at 2026-03-01 13:01 UTC, at commit bbbbbbbbbbbb (out of memory)."
    )


def test_what_did_not_run_names_the_action_at_the_root_and_is_not_counted_as_failed() -> None:
    rows = Rows()
    request = rows.ask("run_all")
    rows.finish(job(request, "other"))
    rows.fail(job(request, "extract"))
    for action in ("count", "chart"):
        found = told(rows, request, action)
        assert found.why == "It did not run: `extract`, which it needs, failed (nonzero exit)."
        assert found.next_step == "Mend `extract` first, then ask for this one again."
        assert [cause.action for cause in found.causes] == ["extract"]
    assert summed_up(rows, request) == "1 succeeded, 1 failed, 2 did not run because of it"


def test_a_failure_in_another_request_is_named_with_it() -> None:
    rows = Rows()
    first, second, third = rows.ask("extract"), rows.ask("count"), rows.ask("chart")
    assert first is not None
    rows.fail(job(first, "extract"))
    for request, action in ((second, "count"), (third, "chart")):
        said = told(rows, request, action).why
        assert said == (
            f"It did not run: `extract`, which it needs, failed in request {first.request_id} (nonzero exit)."
        )
    assert summed_up(rows, third) == "1 did not run"


def test_a_need_that_was_cancelled_is_to_be_asked_for_again() -> None:
    rows = Rows()
    first, second = rows.ask("extract"), rows.ask("count")
    cancel_request(first, rows.person, now=rows.now)  # type: ignore[arg-type]
    found = told(rows, second, "count")
    assert "`extract`, which it needs, was cancelled in request" in found.why
    assert found.next_step == "Ask for `extract` and for this one again."


def test_a_need_that_ended_later_was_not_the_reason() -> None:
    rows = Rows()
    needs = {"a": (), "b": (), "both": ("a", "b")}
    request = rows.ask("both", needs=needs)
    late = job(request, "b")
    lease = rows.claim(late)
    rows.fail(job(request, "a"))
    rows.tick(5)
    rows.report(late, lease, Reason.OUT_OF_TIME, ExitClass.FAILED)
    assert told(rows, request, "both").why == "It did not run: `a`, which it needs, failed (nonzero exit)."


def test_however_many_did_not_run_the_queries_are_few() -> None:
    rows = Rows()

    def queries(count: int) -> int:
        names = [f"{count}-{number}" for number in range(count)]
        needs: dict[str, tuple[str, ...]] = {
            name: (names[place - 1],) if place else () for place, name in enumerate(names)
        }
        request = rows.ask("run_all", needs=needs)
        assert request is not None
        rows.fail(job(request, names[0]))
        with CaptureQueriesContext(connection) as seen:
            (facts,) = describe([request], now=rows.now)
        assert facts.jobs[-1].causes[0].action == names[0]
        return len(seen)

    assert queries(3) == queries(300) <= 4


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ([(State.FAILED, "nonzero_exit", 1), (State.FAILED, "dependency_failed", 3)],
         "1 failed, 3 did not run because of it"),
        ([(State.REFUSED, "site_policy", 2), (State.FAILED, "dependency_failed", 1)],
         "2 refused, 1 did not run because of them"),
        ([(State.SUCCEEDED, "reused", 2), (State.SUCCEEDED, "completed", 1), (State.RUNNING, "executing", 1)],
         "1 running, 1 succeeded, 2 reused"),
        ([], ""),
    ],
)  # fmt: skip
def test_a_summary_tells_apart_what_ran_and_what_did_not(
    counted: list[tuple[State, str, int]], said: str
) -> None:
    assert summary(tally(counted)) == said


def test_a_tally_loses_nothing() -> None:
    every = [(state, reason, 1) for state, reasons in REASONS.items() for reason in reasons]
    assert sum(tally(every).values()) == len(every)


def poll(rows: Rows, *, accepting: bool) -> None:
    body = Poll(accepting=accepting, slots=Slots(db=1, plain=1)).to_bytes()
    begin_poll(Call(rows.credential, None, body))


def greet(rows: Rows) -> None:
    message = Hello(
        agent_id="a", protocol=PROTOCOL, version=__version__, runtimes=(Runtime.RUNC,), policy_digest="0" * 64
    )
    hello(Call(rows.credential, None, message.to_bytes()), rows.terms)


def test_while_an_agent_drains_nobody_is_promised_seconds() -> None:
    rows = Rows()
    request = rows.ask("run_all")
    poll(rows, accepting=True)
    rows.now = rows.agent().last_seen_at or BEGIN
    assert told(rows, request, "extract").why.endswith("to take it; that happens within seconds.")
    poll(rows, accepting=False)
    drains = "takes nothing new at present; the people who run it see why."
    assert told(rows, request, "extract").why == f"Backend north {drains}"
    assert told(rows, request, "count").why == "Waits for `extract` to finish."
    rows.now += timedelta(hours=1)
    assert f"{drains} It was last seen at" in told(rows, request, "extract").why
    greet(rows)
    rows.now = rows.agent().last_seen_at or BEGIN
    assert "within seconds" in told(rows, request, "extract").why


def test_an_agent_that_was_paused_from_here_is_not_draining() -> None:
    rows = Rows()
    request = rows.ask("extract")
    set_paused(rows.agent(), True, now=rows.now)
    poll(rows, accepting=False)
    assert "is paused" in told(rows, request, "extract").why
    set_paused(rows.agent(), False, now=rows.now)
    assert "nothing new" not in told(rows, request, "extract").why


def test_a_pause_does_not_make_an_agent_that_drained_take_jobs_again() -> None:
    rows = Rows()
    request = rows.ask("extract")
    poll(rows, accepting=False)
    set_paused(rows.agent(), True, now=rows.now)
    poll(rows, accepting=False)
    set_paused(rows.agent(), False, now=rows.now)
    assert "takes nothing new" in told(rows, request, "extract").why


def test_a_running_job_says_for_how_long() -> None:
    rows = Rows()
    request = rows.ask("extract")
    rows.claim(job(request, "extract"))
    rows.tick(200)
    assert told(rows, request, "extract").running_s == 200
