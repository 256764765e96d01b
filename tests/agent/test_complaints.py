"""What the operator hears of a controller that says what it must not say."""

from pathlib import Path

import pytest

from jobrunner.agent.complaints import Complaints
from jobrunner.agent.journal import Journal
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import Cancel, Lease
from tests.agent.offers import offer

pytestmark = pytest.mark.unit


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "agent.db")


def test_a_stray_cancel_is_noted_once_however_often_it_comes(journal: Journal) -> None:
    complaints = Complaints(journal)
    first, second = (Cancel(job_id=new_id(), attempt=1) for _ in range(2))
    for cancel in (first, second, first, first, second):
        complaints.stray_cancel(cancel)
    assert [row[1] for row in journal.incidents(9)] == [second.job_id, first.job_id]


def test_stray_cancels_do_not_fill_the_disk(journal: Journal) -> None:
    complaints = Complaints(journal)
    for _ in range(150):
        complaints.stray_cancel(Cancel(job_id=new_id(), attempt=1))
    assert len(journal.incidents(1000)) == 100


@pytest.mark.parametrize(
    ("lease", "why"),
    [
        (Lease(attempt=1, seconds=60, token=None), "without a token"),
        (Lease(attempt=1, seconds=60, token="t"), "with attempt 1, which is over; 2 or more was asked for"),
    ],
)
def test_what_is_wrong_with_a_lease_is_said(journal: Journal, lease: Lease, why: str) -> None:
    made = offer()
    job = job_id_of(made.request_id, made.action)
    journal.intend_claim(job, made)
    with journal.transaction() as connection:
        connection.execute("UPDATE attempts SET attempt = 2")
    (asked,) = journal.open_attempts()
    Complaints(journal).unusable_lease(asked, lease)
    assert journal.incidents(1)[0][1:] == (
        job, 2, "site_policy", "malformed", f"The controller answered a claim {why}.",
    )  # fmt: skip
