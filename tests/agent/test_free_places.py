"""What the controller is told of free places: as it counts them, whichever message came first."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent.attempt_rows import Accepted, Step
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.free_places import are_derived, free_places
from jobrunner.agent.journal import Journal
from jobrunner.agent.report import Reporter
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.vocabulary import Stage
from tests.agent.offers import offer

pytestmark = pytest.mark.unit


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "agent.db")


def attempt(journal: Journal, step: Step, **facts: Any) -> None:
    made = offer()
    job = job_id_of(made.request_id, made.action)
    found = journal.intend_claim(job, made)
    if step is Step.ACCEPT:
        return
    event = Reporter(Ed25519PrivateKey.generate(), 1).stage(job, 1, Stage.PREPARING)
    journal.accepted(job, 1, Accepted(1, "t" * 40, 60, {"slot": 0}), event)
    journal.advance(found, step, facts=facts)


def told(journal: Journal, total: int, database: int = 0) -> tuple[int, int]:
    slots = free_places(journal, Desk(total, database))
    return slots.db, slots.plain


def test_nothing_runs(journal: Journal) -> None:
    assert told(journal, 4) == (4, 4)
    assert told(journal, 4, 2) == (2, 4)
    assert are_derived(journal)


@pytest.mark.parametrize(
    ("step", "is_taken"),
    [
        (Step.ACCEPT, False),
        (Step.VERIFY, True),
        (Step.FETCH, True),
        (Step.STAGE, True),
        (Step.WAIT, True),
        (Step.DELIVER, True),
        (Step.CLEAN_UP, False),
        (Step.DONE, False),
    ],
)
def test_a_place_is_taken_from_the_claims_answer_to_the_end(
    journal: Journal, step: Step, is_taken: bool
) -> None:
    attempt(journal, step)
    left = 1 if is_taken else 2
    assert told(journal, 2, 2)[1] == left
    # Without a database every free place may have a database action, which the agent then refuses.
    assert told(journal, 2) == (left, left)


def test_database_places_are_told_beside_all_places(journal: Journal) -> None:
    # The end of a plain job frees a place that a waiting database action may have, without another poll.
    attempt(journal, Step.WAIT, dataset="rows")
    assert told(journal, 4, 2) == (1, 3)
    attempt(journal, Step.WAIT, dataset=None)
    assert told(journal, 4, 2) == (1, 2)
    assert told(journal, 2, 2) == (1, 0)
    assert told(journal, 1, 1) == (0, 0)


@pytest.mark.parametrize("step", [Step.VERIFY, Step.FETCH])
def test_what_was_not_read_yet_may_be_a_database_action(journal: Journal, step: Step) -> None:
    attempt(journal, step)
    assert told(journal, 4, 1) == (0, 3)
    assert not are_derived(journal)
