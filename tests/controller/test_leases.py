"""Leases, attempt numbers and tokens, with a clock that stands still."""

from datetime import timedelta

import pytest
from django.db import transaction

from jobrunner.controller.jobs import attempt_tokens, leases
from jobrunner.controller.jobs.cancelling import cancel_request
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.lifecycle import Overtaken, move
from jobrunner.controller.jobs.offers import after_events, cancels_for, look
from jobrunner.controller.jobs.refusals import STALE, TAKEN, Refused
from jobrunner.controller.jobs.transitions import PREPARING, Situation, State
from jobrunner.sync.messages import MAX_TOKEN_BYTES, Renew
from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_rows import Rows, job, where

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


def refusal(rows: Rows, request: object, attempt: int = 1) -> object:
    with pytest.raises(Refused) as refused:
        rows.claim(job(request, "other"), attempt)  # type: ignore[arg-type]
    return refused.value.answer


def test_who_saw_an_older_state_loses_and_changes_nothing() -> None:
    rows = Rows()
    request = rows.ask("other")
    seen_by_two = [job(request, "other"), job(request, "other")]
    move(seen_by_two[0], Situation(State.CANCELLED, "by_requester"), now=rows.now)
    with pytest.raises(Overtaken), transaction.atomic():
        move(seen_by_two[1], PREPARING, now=rows.now, attempt=1)
    assert where(request) == {"other": "cancelled/by_requester"}
    assert job(request, "other").events.count() == 2


def test_a_newer_claim_after_a_lapse_fences_the_older_attempt() -> None:
    rows = Rows()
    request = rows.ask("other")
    old = rows.claim(job(request, "other"))
    rows.report(job(request, "other"), old, Reason.EXECUTING)
    rows.tick(119)
    assert refusal(rows, request, 2) == TAKEN
    rows.tick(2)
    new = rows.claim(job(request, "other"), 2)
    assert (new.attempt, where(request)) == (2, {"other": "running/preparing"})
    for call in (
        lambda: rows.report(job(request, "other"), old, Reason.COMPLETED, ExitClass.SUCCEEDED),
        lambda: leases.renew(
            rows.agent(),
            Renew(job_id=job(request, "other").job_id, attempt=1),
            old.token,
            now=rows.now,
            terms=rows.terms,
        ),
    ):
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.answer == STALE
    assert where(request) == {"other": "running/preparing"}
    rows.report(job(request, "other"), new, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert where(request) == {"other": "succeeded/completed"}


def test_an_error_that_is_not_the_studys_is_tried_again_after_a_pause() -> None:
    rows = Rows(retry_s=15)
    request = rows.ask("other")
    failed = rows.claim(job(request, "other"))
    rows.report(job(request, "other"), failed, Reason.INTERNAL_ERROR, ExitClass.FAILED)
    assert where(request) == {"other": "pending/retrying"}
    rows.tick(14)
    assert refusal(rows, request, 2) == TAKEN
    assert after_events(rows.agent(), ended=True, now=rows.now, terms=rows.terms)[0] == ()
    rows.tick(2)
    assert rows.claim(job(request, "other"), 2).attempt == 2


def test_after_a_restart_no_lease_runs_out_for_one_period() -> None:
    rows = Rows()
    request = rows.ask("other")
    rows.report(job(request, "other"), rows.claim(job(request, "other")), Reason.EXECUTING)
    rows.tick(1000)
    rows.terms = Terms(lease_s=120, retry_s=15, started_at=rows.now)
    assert refusal(rows, request, 2) == TAKEN
    rows.tick(120)
    assert rows.claim(job(request, "other"), 2).attempt == 2


def test_lapsed_attempts_count_as_tries_and_the_fourth_claim_ends_the_job() -> None:
    rows = Rows()
    request = rows.ask("count")
    for attempt in (1, 2, 3):
        rows.report(job(request, "extract"), rows.claim(job(request, "extract"), attempt), Reason.EXECUTING)
        rows.tick(121)
    with pytest.raises(Refused):
        rows.claim(job(request, "extract"), 4)
    assert where(request) == {"extract": "failed/internal_error", "count": "failed/dependency_failed"}


def test_attempt_numbers_end_at_99() -> None:
    rows = Rows()
    request = rows.ask("other")
    rows.report(job(request, "other"), rows.claim(job(request, "other"), 99), Reason.EXECUTING)
    rows.tick(121)
    assert refusal(rows, request, 99) == TAKEN
    assert where(request) == {"other": "failed/internal_error"}


def test_a_cancelled_run_that_lapsed_is_offered_to_nobody_and_ends_at_the_next_look() -> None:
    rows = Rows()
    request = rows.ask("other")
    rows.claim(job(request, "other"))
    assert request is not None
    cancel_request(request, rows.person, now=rows.now)
    assert len(cancels_for(rows.agent(), now=rows.now, terms=rows.terms)) == 1
    rows.tick(121)
    assert refusal(rows, request, 2) == TAKEN
    assert after_events(rows.agent(), ended=True, now=rows.now, terms=rows.terms)[0] == ()
    assert look(rows.agent(), accepting=True, now=rows.now, terms=rows.terms) == ((), ())
    assert where(request) == {"other": "cancelled/by_requester"}


def test_an_error_of_ours_in_a_cancelled_run_is_not_tried_again() -> None:
    rows = Rows()
    request = rows.ask("other")
    lease = rows.claim(job(request, "other"))
    assert request is not None
    cancel_request(request, None, now=rows.now)
    rows.report(job(request, "other"), lease, Reason.INTERNAL_ERROR, ExitClass.FAILED)
    assert where(request) == {"other": "cancelled/by_controller"}


def test_a_stop_that_nobody_here_asked_for_was_the_sites() -> None:
    rows = Rows()
    request = rows.ask("other")
    lease = rows.claim(job(request, "other"))
    rows.report(job(request, "other"), lease, Reason.BY_REQUESTER, ExitClass.CANCELLED)
    assert where(request) == {"other": "cancelled/by_site"}


def test_the_longest_token_fits_the_wire() -> None:
    rows = Rows()
    token = attempt_tokens.issue("s" * 40, "a" * 26, 99, now=rows.now)
    assert len(token) <= MAX_TOKEN_BYTES
    assert attempt_tokens.fits(token, "s" * 40, "a" * 26, 99, now=rows.now + timedelta(days=29, hours=23))
    assert not attempt_tokens.fits(token, "s" * 40, "a" * 26, 99, now=rows.now + timedelta(days=30))
