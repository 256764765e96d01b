"""`approval verify` says what the agent says: the same approvals, judged by both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approval_looks import ADVICE, KeyFiles, Look, looks
from jobrunner.agent.approvals import check_approval
from jobrunner.agent.outcome import Ended
from jobrunner.agent.policy import PolicyProblem, Site, load_site
from jobrunner.sync.ssh_signatures import signer_fingerprint
from tests.agent.approvers import NOW, Approver, envelope, payload
from tests.agent.offers import offer
from tests.agent.policies import write_site

pytestmark = pytest.mark.unit


@pytest.fixture
def stranger(tmp_path: Path) -> Approver:
    return Approver.create(tmp_path, "stranger")


Case = Callable[[Approver, Approver], str]
CASES: dict[str, tuple[Case, str, str]] = {
    "good": (lambda alice, _: envelope(payload(), alice), "", ""),
    "cut": (lambda alice, _: envelope(payload(), alice)[:-1], "form", "malformed"),
    "altered": (
        lambda alice, _: json.dumps(
            json.loads(envelope(payload(), alice))
            | {"payload": json.loads(envelope(payload(serial=3)))["payload"]}
        ),
        "signatures",
        "bad_signature",
    ),
    "unknown": (lambda _, stranger: envelope(payload(), stranger), "signatures", "unknown_key"),
    "site": (lambda alice, _: envelope(payload(sites=["elsewhere"]), alice), "site", "wrong_site"),
    "expired": (lambda alice, _: envelope(payload(not_after=NOW), alice), "date", "expired"),
    "not_yet": (lambda alice, _: envelope(payload(not_before=NOW + 1), alice), "date", "not_yet"),
    "older": (lambda alice, _: envelope(payload(serial=1), alice), "serial", "superseded"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_here_is_refused_by_the_agent_for_the_same_reason(
    site_folder: Path, alice: Approver, stranger: Approver, case: str
) -> None:
    make, check, detail = CASES[case]
    text = make(alice, stranger)
    site = load_site(write_site(site_folder, signers=alice.line()))
    highest = 2 if case == "older" else 1
    made = looks(text, KeyFiles(site.allowed_signers), now=NOW, site="site-one", highest_serial=highest)
    refused = [look for look in made if look.refused is not None]
    assert [look.check for look in refused] == ([check] if check else [])
    by_agent = agent_refusal(text, site, highest)
    assert by_agent == (None if not refused else refused[0].refused)
    assert (by_agent.detail if by_agent else "") == detail
    assert not detail or ADVICE[detail]


def agent_refusal(text: str, site: Site, highest: int) -> Any:
    try:
        check_approval(offer(approval=text), site, highest_serial=highest, now=NOW)
    except Ended as ended:
        return ended.outcome
    return None


def test_every_check_is_told_also_behind_the_first_that_refuses(site_folder: Path, alice: Approver) -> None:
    site = load_site(write_site(site_folder, signers=alice.line()))
    text = envelope(payload(not_after=NOW, sites=["x"]), alice)
    made = looks(
        text, KeyFiles(site.allowed_signers), now=NOW, threshold=2, site="site-one", highest_serial=9
    )
    assert [(look.check, look.refused and look.refused.detail) for look in made] == [
        ("form", None), ("signatures", None), ("people", "threshold"), ("site", "wrong_site"),
        ("date", "expired"), ("serial", "superseded"),
    ]  # fmt: skip
    assert looks(text, KeyFiles(site.allowed_signers), now=NOW - 1)[-1] == Look("date", "in force now")


def test_who_signed_with_which_key(site_folder: Path, alice: Approver, bob: Approver) -> None:
    site = load_site(write_site(site_folder, signers=alice.line() + bob.line()))
    text = envelope(payload(), alice, bob)
    _form, signatures, people, _date = looks(text, KeyFiles(site.allowed_signers), now=NOW, threshold=2)
    keys = [signer_fingerprint(one) for one in json.loads(text)["signatures"]]
    assert signatures.found == f"alice with {keys[0]}, bob with {keys[1]}"
    assert people.found == "2, asked for 2"


def test_a_revoked_key(site_folder: Path, alice: Approver) -> None:
    site = load_site(write_site(site_folder, signers=alice.line()))
    revoked = site_folder / "revoked"
    revoked.write_text(alice.public + "\n")
    made = looks(envelope(payload(), alice), KeyFiles(site.allowed_signers, revoked), now=NOW)
    assert made[1].refused is not None
    assert made[1].refused.detail == "revoked"
    assert ADVICE["revoked"]


def test_files_with_which_the_agent_does_not_start(site_folder: Path, alice: Approver) -> None:
    site = load_site(write_site(site_folder, signers=f"alice {alice.public}\n"))
    with pytest.raises(PolicyProblem, match="lacks namespaces"):
        looks(envelope(payload(), alice), KeyFiles(site.allowed_signers), now=NOW)


def test_there_is_advice_for_every_detail_that_needs_no_offer() -> None:
    # threats.md section 6, list of details, without mismatch: that needs an offer.
    assert set(ADVICE) == {
        "malformed", "bad_signature", "unknown_key", "revoked", "superseded", "threshold", "wrong_site",
        "expired", "not_yet",
    }  # fmt: skip
