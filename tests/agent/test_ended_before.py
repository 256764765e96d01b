"""Which jobs may run again here, and which have ended for good."""

from pathlib import Path

import pytest

from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.ended_before import refuse_ended
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import DETAILS, Ended, end
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.messages import Offer
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason, Stage
from tests.agent.offers import offer
from tests.agent.test_journal import REPORTER

pytestmark = pytest.mark.unit

AGAIN = {Reason.INTERNAL_ERROR, *REASONS_OF_EXIT[ExitClass.REFUSED]}
ENDS = sorted(reason for reasons in REASONS_OF_EXIT.values() for reason in reasons)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "agent.db")


def accept(journal: Journal, made: Offer) -> Attempt:
    """The next attempt of a job, accepted."""
    job = job_id_of(made.request_id, made.action)
    number = journal.intend_claim(job, made).number
    event = REPORTER.stage(job, number, Stage.PREPARING)
    journal.accepted(job, number, Accepted(number, "token", 60, {"slot": 0}), event)
    found = journal.get(job, number)
    assert found is not None
    return found


@pytest.mark.parametrize("reason", ENDS)
def test_only_what_failed_here_or_never_ran_may_run_again(journal: Journal, reason: Reason) -> None:
    made = offer()
    detail = min(DETAILS.get(reason, {""}))
    journal.advance(accept(journal, made), Step.DONE, outcome=end(reason, detail).outcome)
    again = accept(journal, made)
    if reason in AGAIN:
        refuse_ended(journal, again)
        return
    with pytest.raises(Ended) as refused:
        refuse_ended(journal, again)
    assert (refused.value.outcome.reason, refused.value.outcome.detail) == (Reason.SITE_POLICY, "malformed")
    assert "attempt 1" in refused.value.outcome.message


def test_an_attempt_that_was_replaced_has_told_nobody_how_it_ended(journal: Journal) -> None:
    made = offer()
    first = accept(journal, made)
    journal.advance(first, Step.DONE, outcome=end(Reason.NONZERO_EXIT).outcome)
    journal.supersede(*first.key)
    refuse_ended(journal, accept(journal, made))


def test_what_was_published_is_not_run_again_though_the_controller_calls_it_stale(journal: Journal) -> None:
    made = offer()
    first = accept(journal, made)
    journal.advance(first, Step.DONE, outcome=end(Reason.COMPLETED).outcome)
    journal.supersede(*first.key)
    with pytest.raises(Ended):
        refuse_ended(journal, accept(journal, made))


def test_the_attempt_itself_and_other_jobs_do_not_count(journal: Journal) -> None:
    other = accept(journal, offer())
    journal.advance(other, Step.DONE, outcome=end(Reason.COMPLETED).outcome)
    refuse_ended(journal, accept(journal, offer()))
    found = journal.get(*other.key)
    assert found is not None
    refuse_ended(journal, found)
