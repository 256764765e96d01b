"""S13, unit part: whether the approval lets a job read the site's database (threats.md section 3 item 1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approvals import check_approval, check_signers_file
from jobrunner.agent.outcome import Ended
from jobrunner.agent.policy import Site, load_site
from jobrunner.sync.vocabulary import ExitClass
from tests.agent.approvers import NOW, Approver, envelope, payload
from tests.agent.offers import offer
from tests.agent.policies import IMAGE_ID, write_site
from tests.fixtures.database_files import make_database

pytestmark = pytest.mark.unit

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(site_folder: Path, alice: Approver, bob: Approver, tmp_path: Path) -> MakeSite:
    """A site with the database `flchain`; `dataset=None` leaves the database out."""

    def make(dataset: str | None = "flchain", **changes: Any) -> Site:
        if dataset is not None:
            file = tmp_path / "data" / "patients.db"
            if not file.exists():
                make_database(file.parent)
            changes["database"] = {
                "dataset": dataset, "kind": "sqlite", "file": str(file), "images": {IMAGE_ID: "any"},
            }  # fmt: skip
        site = load_site(write_site(site_folder, signers=alice.line() + bob.line(), **changes))
        check_signers_file(site)
        return site

    return make


def check(site: Site, approval: str, dataset: str | None) -> str:
    made = offer(approval=approval)
    return check_approval(made, site, highest_serial=0, now=NOW, dataset=dataset)[0].approval_id


def refusal(site: Site, approval: str, dataset: str | None = "flchain") -> tuple[str, str]:
    with pytest.raises(Ended) as caught:
        check(site, approval, dataset)
    outcome = caught.value.outcome
    assert outcome.exit_class is ExitClass.REFUSED
    assert outcome.message
    return outcome.reason.value, outcome.detail


def test_the_approval_names_the_dataset(make_site: MakeSite, alice: Approver) -> None:
    approval = envelope(payload(database=True, datasets=["other", "flchain"]), alice)
    assert check(make_site(), approval, "flchain")


@pytest.mark.parametrize("datasets", [[], ["flchain"]])
def test_an_approval_without_a_database(make_site: MakeSite, alice: Approver, datasets: list[str]) -> None:
    approval = envelope(payload(database=False, datasets=datasets), alice)
    site = make_site()
    assert refusal(site, approval) == ("database_not_allowed", "approval")
    assert check(site, approval, None)


@pytest.mark.parametrize("datasets", [[], ["flchain-2"], ["flchai", "other"]])
def test_an_approval_for_other_datasets(make_site: MakeSite, alice: Approver, datasets: list[str]) -> None:
    approval = envelope(payload(database=True, datasets=datasets), alice)
    assert refusal(make_site(), approval) == ("database_not_allowed", "dataset")


@pytest.mark.parametrize("now", ["other", None])
def test_a_database_that_the_site_has_no_more(make_site: MakeSite, alice: Approver, now: str | None) -> None:
    # The job was derived before the policy changed; the approval names both.
    approval = envelope(payload(database=True, datasets=["flchain", "other"]), alice)
    assert check(make_site(), approval, "flchain")
    assert refusal(make_site(now), approval) == ("database_not_allowed", "dataset")


def test_a_bad_approval_is_named_before_its_database(make_site: MakeSite, alice: Approver) -> None:
    approval = envelope(payload(sites=["site-two"]), alice)
    assert refusal(make_site(), approval) == ("site_policy", "wrong_site")


def test_two_people_where_the_site_asks_for_two(make_site: MakeSite, alice: Approver, bob: Approver) -> None:
    site = make_site(approvals__database_threshold=2)
    allowed = payload(database=True, datasets=["flchain"])
    assert refusal(site, envelope(allowed, alice)) == ("approval_invalid", "threshold")
    assert refusal(site, envelope(allowed, alice, alice)) == ("approval_invalid", "threshold")
    assert check(site, envelope(allowed, alice, bob), "flchain")
    assert check(site, envelope(allowed, alice), None)


def test_without_a_number_of_its_own_the_usual_one_counts(
    make_site: MakeSite, alice: Approver, bob: Approver
) -> None:
    site = make_site(approvals__threshold=2)
    allowed = payload(database=True, datasets=["flchain"])
    assert refusal(site, envelope(allowed, alice)) == ("approval_invalid", "threshold")
    assert check(site, envelope(allowed, alice, bob), "flchain")
