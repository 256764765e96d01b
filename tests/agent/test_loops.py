"""The four loops: what is claimed, renewed, delivered, and what is given up."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.claiming import work_loop
from jobrunner.agent.delivering import deliver_loop
from jobrunner.agent.ending import Ending
from jobrunner.agent.loops import heartbeat_loop, poll_loop
from jobrunner.agent.outcome import Outcome, end
from jobrunner.sync import outbox
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage
from tests.agent.loop_bench import Bench, open_bench
from tests.agent.offers import offer, offer_fields
from tests.evil_controller import replies
from tests.evil_controller.honest import events_answer, poll_answer

pytestmark = [pytest.mark.http, pytest.mark.slow]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("jobrunner.agent.contact.SHORTEST_PAUSE_S", 0.01)
    monkeypatch.setattr("jobrunner.agent.loops._RENEW_CHECK_S", 0.02)
    with open_bench(tmp_path) as opened:
        yield opened


def running(bench: Bench, *, lease_s: int = 60) -> Attempt:
    """An attempt that was claimed, with its first event in the outbox."""
    made = offer()
    job = job_id_of(made.request_id, made.action)
    bench.journal.intend_claim(job, made)
    event = bench.reporter.stage(job, 1, Stage.PREPARING)
    bench.journal.accepted(job, 1, Accepted(1, "token-of-attempt", lease_s, {"slot": 0}), event)
    return found(bench, job)


def found(bench: Bench, job: str, number: int = 1) -> Attempt:
    attempt = bench.journal.get(job, number)
    assert attempt is not None
    return attempt


def waiting(bench: Bench) -> int:
    with bench.journal.transaction() as connection:
        return outbox.waiting(connection)


def until(bench: Bench, condition: Callable[[], Any]) -> None:
    bench.controller.wait_for(lambda: bool(condition()))


def test_an_offer_is_claimed_and_started_once(bench: Bench) -> None:
    fields = offer_fields()
    bench.controller.play("poll", *[replies.answer(poll_answer(fields))] * 3)
    bench.run(poll_loop, work_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 4)
    assert [attempt.offer.request_id for attempt in bench.started] == [fields["request_id"]]
    assert len(bench.controller.requests("claim")) == 1
    assert bench.started[0].facts == {"slot": 0}
    assert bench.started[0].token


def test_other_runtimes_are_told_by_another_hello(bench: Bench) -> None:
    bench.run(poll_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 2)
    assert len(bench.controller.requests("hello")) == 1
    bench.shared.hello = bench.shared.hello.model_copy(update={"runtimes": ()})
    until(bench, lambda: len(bench.controller.requests("hello")) == 2)
    polls = len(bench.controller.requests("poll"))
    until(bench, lambda: len(bench.controller.requests("poll")) >= polls + 2)
    first, second = [json.loads(request.body)["runtimes"] for request in bench.controller.requests("hello")]
    assert (first, second) == (["runc"], [])


def test_no_more_is_claimed_than_there_are_slots(bench: Bench) -> None:
    bench.controller.play("poll", replies.answer(poll_answer(*[offer_fields() for _ in range(5)])))
    bench.run(poll_loop, work_loop)
    until(bench, lambda: len(bench.started) == 2)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 3)
    assert len(bench.controller.requests("claim")) == 2
    last = json.loads(bench.controller.requests("poll")[-1].body)
    assert last == {"accepting": True, "slots": {"db": 0, "plain": 0}}


def test_while_the_controller_says_pause_nothing_is_claimed(bench: Bench) -> None:
    offered = poll_answer(offer_fields())
    bench.controller.play("poll", replies.answer(offered | {"pause": True}))
    bench.run(poll_loop, work_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 1)
    time.sleep(0.1)
    assert bench.started == []
    bench.shared.desk.pause(False)
    until(bench, lambda: len(bench.started) == 1)


def test_that_the_agent_drains_is_told_while_an_older_poll_is_held(bench: Bench) -> None:
    bench.controller.play("poll", replies.late(5, replies.answer(poll_answer())))
    bench.run(poll_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) == 1)
    began = time.monotonic()
    Ending(bench.shared, lambda _attempt: None).drain()
    until(bench, lambda: len(bench.controller.requests("poll")) == 2)
    assert time.monotonic() - began < 2
    first, second = (json.loads(request.body) for request in bench.controller.requests("poll"))
    assert (first["accepting"], second["accepting"]) == (True, False)


def test_a_job_whose_end_is_not_told_yet_is_not_claimed_again(bench: Bench) -> None:
    attempt = running(bench)
    bench.journal.advance(attempt, Step.DONE)
    offered = attempt.offer.model_dump(mode="json")
    bench.controller.play("poll", *[replies.answer(poll_answer(offered))] * 2)
    bench.run(poll_loop, work_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 3)
    assert bench.controller.requests("claim") == []


@pytest.mark.slow
def test_leases_are_renewed_at_a_third_of_their_time(bench: Bench) -> None:
    attempt = running(bench, lease_s=1)
    began = time.monotonic()
    bench.run(heartbeat_loop)
    until(bench, lambda: len(bench.controller.requests("renew")) >= 3)
    assert 0.9 < time.monotonic() - began < 2.5
    for request in bench.controller.requests("renew"):
        assert json.loads(request.body) == {"job_id": attempt.job_id, "attempt": 1}
        assert request.header("Jobrunner-Attempt") == "token-of-attempt"


@pytest.mark.parametrize("step", [Step.CLEAN_UP, Step.DONE])
def test_an_attempt_that_is_over_is_not_renewed(bench: Bench, step: Step) -> None:
    bench.journal.advance(running(bench, lease_s=1), step)
    bench.run(heartbeat_loop)
    time.sleep(0.6)
    assert bench.controller.requests("renew") == []


@pytest.mark.slow
def test_a_stale_attempt_is_stopped_and_tells_nothing_more(bench: Bench) -> None:
    attempt = running(bench, lease_s=1)
    bench.controller.play("renew", replies.answer({"error": "stale_attempt"}, status=409))
    bench.run(heartbeat_loop)
    until(bench, lambda: bench.stopped == [attempt.key])
    assert found(bench, attempt.job_id).superseded
    assert waiting(bench) == 0
    time.sleep(0.5)
    assert len(bench.controller.requests("renew")) == 1


@pytest.mark.parametrize("code", ["taken", "bad_request", "unknown_protocol"])
def test_another_error_to_a_renewal_stops_nothing(bench: Bench, code: str) -> None:
    attempt = running(bench, lease_s=1)
    bench.controller.play("renew", replies.answer({"error": code}, status=400))
    bench.run(heartbeat_loop)
    until(bench, lambda: len(bench.controller.requests("renew")) >= 2)
    assert bench.stopped == []
    assert not found(bench, attempt.job_id).superseded


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (
            {"lease": {"attempt": 1, "seconds": 60, "token": None}, "cancels": [], "image": "x"},
            "unknown_field",
        ),
        ({"lease": {"attempt": 1, "seconds": 59, "token": None}, "cancels": []}, "malformed"),
    ],
)
def test_a_renewal_that_is_answered_by_no_message_is_an_incident_of_that_attempt(
    bench: Bench, answer: dict[str, Any], detail: str
) -> None:
    attempt = running(bench, lease_s=1)
    bench.controller.play("renew", replies.answer(answer))
    bench.run(heartbeat_loop)
    until(bench, lambda: bench.journal.incidents(1))
    assert bench.journal.incidents(1)[0][1:5] == (*attempt.key, "site_policy", detail)
    assert bench.stopped == []


@pytest.mark.slow
def test_a_cancel_that_comes_with_a_renewal_stops_the_attempt_once(bench: Bench) -> None:
    attempt = running(bench, lease_s=1)
    cancel = {"job_id": attempt.job_id, "attempt": 1}
    answer = {"lease": {"attempt": 1, "seconds": 60, "token": None}, "cancels": [cancel]}
    bench.controller.play("renew", *[replies.answer(answer)] * 2)
    bench.run(heartbeat_loop)
    until(bench, lambda: len(bench.controller.requests("renew")) >= 3)
    assert bench.stopped == [attempt.key]
    assert found(bench, attempt.job_id).cancel is Reason.BY_REQUESTER


def test_a_cancel_of_what_is_not_ours_or_over_does_nothing(bench: Bench) -> None:
    attempt = running(bench)
    bench.journal.advance(attempt, Step.CLEAN_UP)
    keys = [(attempt.job_id, 1), (attempt.job_id, 2), ("a" * 26, 1)]
    cancels = [{"job_id": job, "attempt": number} for job, number in keys]
    bench.controller.play("poll", replies.answer(poll_answer(cancels=cancels)))
    bench.run(poll_loop)
    until(bench, lambda: len(bench.controller.requests("poll")) >= 2)
    assert bench.stopped == []
    assert found(bench, attempt.job_id).cancel is None


def test_events_are_delivered_with_the_token_of_their_attempt_and_then_forgotten(bench: Bench) -> None:
    attempt = running(bench)
    bench.run(deliver_loop)
    until(bench, lambda: waiting(bench) == 0)
    (request,) = bench.controller.requests("events")
    assert request.header("Jobrunner-Attempt") == "token-of-attempt"
    assert [event["job_id"] for event in json.loads(request.body)["events"]] == [attempt.job_id]


def test_an_acknowledgement_of_other_events_counts_for_nothing(bench: Bench) -> None:
    running(bench)
    bench.controller.play("events", replies.answer(events_answer(b'{"events": []}', acks=["a" * 26])))
    bench.run(deliver_loop)
    until(bench, lambda: waiting(bench) == 0)
    assert len(bench.controller.requests("events")) == 2


def test_events_of_a_stale_attempt_are_set_aside_and_others_go_on(bench: Bench) -> None:
    stale, fine = running(bench), running(bench)
    bench.controller.play("events", replies.answer({"error": "stale_attempt"}, status=409))
    bench.run(deliver_loop)
    until(bench, lambda: waiting(bench) == 0)
    assert bench.stopped == [stale.key]
    assert found(bench, stale.job_id).superseded
    assert not found(bench, fine.job_id).superseded


def test_an_attempt_that_ended_here_and_is_called_stale_is_an_incident(bench: Bench) -> None:
    attempt = running(bench)
    bench.journal.advance(attempt, Step.DONE, outcome=end(Reason.COMPLETED).outcome)
    bench.controller.play("events", replies.answer({"error": "stale_attempt"}, status=409))
    bench.run(deliver_loop)
    until(bench, lambda: found(bench, attempt.job_id).superseded)
    [incident] = bench.journal.incidents(10)
    assert incident[1:5] == (*attempt.key, "site_policy", "malformed")
    assert "has ended here" in incident[5]


def test_events_that_the_controller_will_never_take_do_not_hold_up_others(bench: Bench) -> None:
    running(bench)
    fine = running(bench)
    bench.controller.play("events", replies.answer({"error": "bad_request"}, status=400))
    bench.run(deliver_loop)
    until(bench, lambda: waiting(bench) == 0)
    last = json.loads(bench.controller.requests("events")[-1].body)
    assert last["events"][0]["job_id"] == fine.job_id
    assert bench.journal.incidents(1)[0][3] == "internal_error"


def test_ends_of_jobs_side_by_side_leave_at_once_and_other_news_after_them(bench: Bench) -> None:
    goes_on, *over = [running(bench) for _ in range(3)]
    for attempt in over:
        ended = bench.reporter.ended(
            *attempt.key, Outcome(ExitClass.SUCCEEDED, Reason.COMPLETED), started=1, finished=2
        )
        bench.journal.advance(attempt, Step.CLEAN_UP, event=ended)
    bench.shared.told(urgent=True)
    bench.run(deliver_loop)
    until(bench, lambda: waiting(bench) == 0)
    sent = [json.loads(request.body)["events"] for request in bench.controller.requests("events")]
    assert [{event["job_id"] for event in events} for events in sent] == [
        {attempt.job_id} for attempt in (*over, goes_on)
    ]
    assert [len(events) for events in sent] == [2, 2, 1]


def test_the_answer_to_an_end_brings_the_next_offers(bench: Bench) -> None:
    attempt = running(bench)
    ended = bench.reporter.stage(*attempt.key, Stage.EXECUTING, 1)
    bench.journal.advance(attempt, Step.WAIT, event=ended)
    fields = offer_fields()

    def answer(line: Any, request: Any) -> bool:
        return replies.answer(events_answer(request.body, offers=[fields]))(line, request)

    bench.controller.play("events", answer)
    bench.run(deliver_loop, work_loop)
    until(bench, lambda: bench.started)
    assert bench.started[0].offer.request_id == fields["request_id"]
    assert bench.controller.requests("poll") == []


def test_a_claimed_attempt_that_cannot_be_started_keeps_its_slot(bench: Bench) -> None:
    first, second = offer_fields(), offer_fields()

    def broken(attempt: Attempt) -> None:
        if attempt.offer.request_id == first["request_id"]:
            raise RuntimeError("can't start new thread")
        bench.started.append(attempt)

    bench.shared.start = broken
    bench.controller.play("poll", replies.answer(poll_answer(first, second)))
    bench.run(poll_loop, work_loop)
    until(bench, lambda: bench.started)
    assert bench.started[0].facts == {"slot": 1}
    assert {one.facts["slot"] for one in bench.journal.open_attempts()} == {0, 1}
    assert bench.shared.desk.free() == 0
