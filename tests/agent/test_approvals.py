"""Whether an approval counts here (threats.md section 6): real keys, real ssh-keygen, exact reasons."""

import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approvals import _question, check_approval, check_signers_file
from jobrunner.agent.outcome import Ended
from jobrunner.agent.policy import PolicyProblem, Site, load_site
from jobrunner.sync.approvals import canonical
from jobrunner.sync.messages import MAX_APPROVAL_BYTES, Offer
from jobrunner.sync.vocabulary import ExitClass
from tests.agent.approvers import NOW, Approver, envelope, payload
from tests.agent.offers import offer
from tests.agent.policies import write_site

pytestmark = pytest.mark.unit

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(site_folder: Path, alice: Approver, bob: Approver) -> MakeSite:
    def make(signers: str | None = None, **changes: Any) -> Site:
        lines = alice.line() + bob.line() if signers is None else signers
        site = load_site(write_site(site_folder, signers=lines, **changes))
        check_signers_file(site)
        return site

    return make


def check(site: Site, made: Offer, *, highest_serial: int = 0, now: int = NOW) -> str:
    approved, digest = check_approval(made, site, highest_serial=highest_serial, now=now)
    assert approved.project == made.project
    return digest


def refusal(site: Site, made: Offer, *, highest_serial: int = 0, now: int = NOW) -> tuple[str, str]:
    with pytest.raises(Ended) as caught:
        check_approval(made, site, highest_serial=highest_serial, now=now)
    outcome = caught.value.outcome
    assert outcome.exit_class is ExitClass.REFUSED
    assert outcome.message
    return outcome.reason.value, outcome.detail


def test_a_signed_approval_counts(make_site: MakeSite, alice: Approver) -> None:
    site = make_site()
    first = check(site, offer(approval=envelope(payload(), alice)))
    assert len(first) == 64
    assert first != check(site, offer(approval=envelope(payload(serial=2), alice)))


def test_no_approval(make_site: MakeSite) -> None:
    assert refusal(make_site(), offer(approval=None)) == ("approval_missing", "")


def test_an_altered_payload(make_site: MakeSite, alice: Approver) -> None:
    good = json.loads(envelope(payload(), alice))
    good["payload"] = canonical(payload(sites=["site-one", "site-two"]))
    assert refusal(make_site(), offer(approval=json.dumps(good))) == ("approval_invalid", "bad_signature")


def test_an_altered_signature(make_site: MakeSite, alice: Approver) -> None:
    good = json.loads(envelope(payload(), alice))
    begin, *middle, end = good["signatures"][0].splitlines()
    raw = bytearray(base64.b64decode("".join(middle)))
    # The bytes of the signature itself come last; the key before them stays.
    raw[-1] ^= 1
    good["signatures"] = ["\n".join([begin, base64.b64encode(raw).decode(), end, ""])]
    assert refusal(make_site(), offer(approval=json.dumps(good))) == ("approval_invalid", "bad_signature")


@pytest.mark.parametrize(
    "signature", ["rubbish", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"]
)
def test_a_signature_that_is_none(make_site: MakeSite, signature: str) -> None:
    text = json.dumps({"payload": canonical(payload()), "signatures": [signature]})
    assert refusal(make_site(), offer(approval=text)) == ("approval_invalid", "unknown_key")


def test_the_signature_of_an_unknown_key(make_site: MakeSite, tmp_path: Path, alice: Approver) -> None:
    stranger = Approver.create(tmp_path, "alice", key="stranger")
    assert refusal(make_site(), offer(approval=envelope(payload(), stranger))) == (
        "approval_invalid",
        "unknown_key",
    )


def test_nobody_is_allowed_by_an_empty_file(make_site: MakeSite, alice: Approver) -> None:
    made = offer(approval=envelope(payload(), alice))
    assert refusal(make_site(signers="# nobody yet\n"), made) == ("approval_invalid", "unknown_key")


def test_a_good_signature_does_not_carry_a_bad_one(
    make_site: MakeSite, alice: Approver, tmp_path: Path
) -> None:
    stranger = Approver.create(tmp_path, "stranger")
    made = offer(approval=envelope(payload(), alice, stranger))
    assert refusal(make_site(), made) == ("approval_invalid", "unknown_key")


def test_a_revoked_key(make_site: MakeSite, site_folder: Path, alice: Approver, bob: Approver) -> None:
    site_folder.mkdir()
    (site_folder / "revoked").write_text(alice.public + "\n")
    site = make_site(approvals__revoked="revoked")
    assert refusal(site, offer(approval=envelope(payload(), alice))) == ("approval_invalid", "revoked")
    check(site, offer(approval=envelope(payload(), bob)))


def test_a_revocation_file_that_is_none_lets_nothing_pass(
    make_site: MakeSite, site_folder: Path, alice: Approver
) -> None:
    site_folder.mkdir()
    (site_folder / "revoked").write_text("this is no list of keys\n")
    site = make_site(approvals__revoked="revoked")
    assert refusal(site, offer(approval=envelope(payload(), alice))) == ("approval_invalid", "revoked")


def test_a_key_that_is_revoked_between_two_looks_counts_no_more(
    make_site: MakeSite, site_folder: Path, alice: Approver
) -> None:
    site_folder.mkdir()
    (site_folder / "revoked").write_text("")
    site = make_site(approvals__revoked="revoked")
    made = offer(approval=envelope(payload(), alice))
    check(site, made)
    check(site, made)
    (site_folder / "revoked").write_text(alice.public + "\n")
    assert refusal(site, made) == ("approval_invalid", "revoked")


def test_a_key_that_is_taken_from_the_list_between_two_looks_counts_no_more(
    make_site: MakeSite, alice: Approver, bob: Approver
) -> None:
    site = make_site()
    made = offer(approval=envelope(payload(), alice))
    check(site, made)
    check(site, made)
    site.allowed_signers.write_text(bob.line())
    assert refusal(site, made) == ("approval_invalid", "unknown_key")
    site.allowed_signers.unlink()
    assert refusal(site, made) == ("approval_invalid", "unknown_key")


def test_a_good_look_does_not_carry_another_text_under_the_same_signature(
    make_site: MakeSite, alice: Approver
) -> None:
    site = make_site()
    good = envelope(payload(), alice)
    check(site, offer(approval=good))
    other = json.loads(good) | {"payload": canonical(payload(database=True))}
    assert refusal(site, offer(approval=json.dumps(other))) == ("approval_invalid", "bad_signature")


def test_an_answer_that_was_given_about_another_file_is_not_kept(
    make_site: MakeSite, alice: Approver, bob: Approver, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(signers=bob.line())
    made = offer(approval=envelope(payload(), alice))
    run = subprocess.run

    def while_alice_is_listed(*arguments: Any, **options: Any) -> Any:
        site.allowed_signers.write_text(alice.line())
        return run(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("jobrunner.agent.approvals.subprocess.run", while_alice_is_listed)
        check(site, made)
    site.allowed_signers.write_text(bob.line())
    assert refusal(site, made) == ("approval_invalid", "unknown_key")


def test_where_one_part_of_the_question_ends_and_the_next_begins_counts(make_site: MakeSite) -> None:
    site = make_site()
    assert _question(b"ab", b"c", site) != _question(b"a", b"bc", site)


@pytest.mark.slow
def test_a_key_whose_date_passes_counts_no_more_at_once(make_site: MakeSite, alice: Approver) -> None:
    last = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 3))
    site = make_site(signers=alice.line(f'namespaces="jobrunner-approval",valid-before="{last}"'))
    made = offer(approval=envelope(payload(), alice))
    check(site, made)
    time.sleep(5)
    assert refusal(site, made) == ("approval_invalid", "unknown_key")


@pytest.mark.parametrize("namespace", ["git", "file", "jobrunner-approval2", "jobrunner"])
def test_a_signature_for_another_purpose(make_site: MakeSite, alice: Approver, namespace: str) -> None:
    text = canonical(payload())
    made = json.dumps({"payload": text, "signatures": [alice.sign(text, namespace=namespace)]})
    assert refusal(make_site(), offer(approval=made)) == ("approval_invalid", "bad_signature")


@pytest.mark.parametrize("option", ['valid-before="20200101Z"', 'valid-after="20990101Z"'])
def test_a_key_that_is_not_in_date(make_site: MakeSite, alice: Approver, option: str) -> None:
    site = make_site(signers=alice.line(f'namespaces="jobrunner-approval",{option}'))
    made = offer(approval=envelope(payload(), alice))
    assert refusal(site, made) == ("approval_invalid", "unknown_key")


def test_a_key_that_is_in_date(make_site: MakeSite, alice: Approver) -> None:
    dates = 'valid-after="20200101Z",namespaces="jobrunner-approval",valid-before="20990101000000Z"'
    check(make_site(signers=alice.line(dates)), offer(approval=envelope(payload(), alice)))


def test_the_end_of_an_approval(make_site: MakeSite, alice: Approver) -> None:
    made = offer(approval=envelope(payload(not_before=NOW - 10, not_after=NOW), alice))
    assert refusal(make_site(), made) == ("approval_expired", "expired")
    check(make_site(), made, now=NOW - 1)


def test_the_begin_of_an_approval(make_site: MakeSite, alice: Approver) -> None:
    made = offer(approval=envelope(payload(not_before=NOW + 1), alice))
    assert refusal(make_site(), made) == ("approval_expired", "not_yet")
    check(make_site(), made, now=NOW + 1)


def test_an_approval_for_another_site(make_site: MakeSite, alice: Approver) -> None:
    made = offer(approval=envelope(payload(sites=["site-two", "site-one-b"]), alice))
    assert refusal(make_site(), made) == ("site_policy", "wrong_site")


@pytest.mark.parametrize(
    ("approved", "offered"),
    [
        ({}, {"project": "other-study"}),
        ({}, {"repo": "https://git.example/org/heart2"}),
        ({}, {"branch": "dev"}),
        ({"commits": ["1" * 40]}, {}),
        ({"actions": ["other"]}, {}),
    ],
)
def test_an_approval_of_something_else(
    make_site: MakeSite, alice: Approver, approved: dict[str, Any], offered: dict[str, Any]
) -> None:
    made = offer(approval=envelope(payload(**approved), alice), **offered)
    assert refusal(make_site(), made) == ("approval_invalid", "mismatch")


def test_named_commits_and_actions(make_site: MakeSite, alice: Approver) -> None:
    check(
        make_site(),
        offer(approval=envelope(payload(commits=["0" * 40, "1" * 40], actions=["describe"]), alice)),
    )


def test_an_older_approval_than_the_newest_seen(make_site: MakeSite, alice: Approver) -> None:
    made = offer(approval=envelope(payload(serial=4), alice))
    assert refusal(make_site(), made, highest_serial=5) == ("approval_invalid", "superseded")
    check(make_site(), made, highest_serial=4)
    check(make_site(), made, highest_serial=3)


def test_two_signers_where_the_site_asks_for_two(make_site: MakeSite, alice: Approver, bob: Approver) -> None:
    site = make_site(approvals__threshold=2)
    check(site, offer(approval=envelope(payload(), alice, bob)))
    for too_few in ([alice], [alice, alice], [bob, bob, bob]):
        made = offer(approval=envelope(payload(), *too_few))
        assert refusal(site, made) == ("approval_invalid", "threshold")


def test_one_person_with_two_keys_is_one_signer(make_site: MakeSite, alice: Approver, tmp_path: Path) -> None:
    again = Approver.create(tmp_path, "alice", key="second")
    site = make_site(signers=alice.line() + again.line(), approvals__threshold=2)
    made = offer(approval=envelope(payload(), alice, again))
    assert refusal(site, made) == ("approval_invalid", "threshold")


def test_one_key_under_two_names_is_one_signer(make_site: MakeSite, alice: Approver) -> None:
    site = make_site(signers=alice.line() + Approver("carol", alice.key).line(), approvals__threshold=2)
    made = offer(approval=envelope(payload(), alice, Approver("carol", alice.key)))
    assert refusal(site, made) == ("approval_invalid", "threshold")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + " ",
        lambda text: text.replace(":", ": ", 1),
        lambda text: text.replace('"serial":1', '"serial":1,"serial":1'),
        lambda text: text.replace('"serial":1', '"serial":1.0'),
        lambda text: text[:-1] + ',"zz":1}',
        lambda text: "[]",
    ],
    ids=["space", "colon", "duplicate", "float", "unknown", "list"],
)
def test_a_signed_payload_that_is_not_canonical_json_of_the_closed_list(
    make_site: MakeSite, alice: Approver, spoil: Callable[[str], str]
) -> None:
    # Signed as it is: the signature alone would count.
    made = offer(approval=envelope(spoil(canonical(payload())), alice))
    assert refusal(make_site(), made) == ("approval_invalid", "malformed")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1] + ', "note": 1}',
        lambda text: text.replace('"signatures"', '"payload": "{}", "signatures"'),
        lambda text: text[:-1],
        lambda text: "",
        lambda text: "not json",
    ],
    ids=["unknown", "duplicate", "cut", "empty", "text"],
)
def test_an_envelope_that_is_none(make_site: MakeSite, alice: Approver, spoil: Callable[[str], str]) -> None:
    made = offer(approval=spoil(envelope(payload(), alice)))
    assert refusal(make_site(), made) == ("approval_invalid", "malformed")


def test_16_kib_and_a_byte(make_site: MakeSite, alice: Approver) -> None:
    text = envelope(payload(), alice)
    text += " " * (MAX_APPROVAL_BYTES - len(text))
    check(make_site(), offer(approval=text))
    # The message itself would not carry a longer one; the check does not rely on that.
    long = offer().model_copy(update={"approval": text + " "})
    assert refusal(make_site(), long) == ("approval_invalid", "malformed")


def test_checks_come_in_the_order_of_the_specification(
    make_site: MakeSite, alice: Approver, tmp_path: Path
) -> None:
    # Everything is wrong; each time the first thing is put right, the next one is told.
    stranger = Approver.create(tmp_path, "stranger")
    wrong: dict[str, Any] = {"sites": ["x"], "branches": ["x"], "not_after": NOW, "serial": 1}
    site = make_site()

    def told(approver: Approver, **changes: Any) -> tuple[str, str]:
        return refusal(site, offer(approval=envelope(payload(**wrong | changes), approver)), highest_serial=9)

    assert told(stranger) == ("approval_invalid", "unknown_key")
    assert told(alice) == ("site_policy", "wrong_site")
    assert told(alice, sites=["site-one"]) == ("approval_invalid", "mismatch")
    assert told(alice, sites=["site-one"], branches=["main"]) == ("approval_expired", "expired")
    in_date = {"sites": ["site-one"], "branches": ["main"], "not_after": NOW + 9}
    assert told(alice, **in_date) == ("approval_invalid", "superseded")
    check(site, offer(approval=envelope(payload(**wrong | in_date | {"serial": 9}), alice)), highest_serial=9)


def test_nothing_of_the_agents_environment_reaches_ssh_keygen(
    make_site: MakeSite, alice: Approver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = tmp_path / "ssh-keygen"
    evil.write_text("#!/bin/sh\necho alice\nexit 0\n")
    evil.chmod(0o755)
    made = offer(approval=envelope("x", alice).replace('"x"', json.dumps(canonical(payload()))))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(make_site(), made) == ("approval_invalid", "bad_signature")


# --- the file of allowed signers ---

NAMESPACE = 'namespaces="jobrunner-approval"'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl3QyGzkdGpmDUjnXyZ4ZVYzMDYwNDYzMDYwNDYzMDYw"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"alice {KEY}", "lacks namespaces"),
        (f"alice {KEY} {NAMESPACE}", "lacks namespaces"),
        (f'alice namespaces="git" {KEY}', "lacks namespaces"),
        (f'alice namespaces="jobrunner-approval,git" {KEY}', "lacks namespaces"),
        (f'alice namespaces="*" {KEY}', "lacks namespaces"),
        (f"alice cert-authority,{NAMESPACE} {KEY}", "authority"),
        (f"alice {NAMESPACE},CERT-AUTHORITY {KEY}", "authority"),
        (f"* {NAMESPACE} {KEY}", "plain name"),
        (f"alice,bob {NAMESPACE} {KEY}", "plain name"),
        (f'"alice" {NAMESPACE} {KEY}', "plain name"),
        (f"!alice {NAMESPACE} {KEY}", "plain name"),
        (f'alice {NAMESPACE},valid-before="20301231" {KEY}', "with the Z"),
        (f"alice {NAMESPACE},valid-before=20301231 {KEY}", "with the Z"),
        (f'alice {NAMESPACE},Valid-After="20301231" {KEY}', "with the Z"),
        (f'alice {NAMESPACE},valid-after="203012312359" {KEY}', "with the Z"),
        (f'alice {NAMESPACE},no-touch-required="x" {KEY}', "only namespaces"),
        (f"al\u00efce {NAMESPACE} {KEY}", "plain ASCII"),
        (f"alice {NAMESPACE} {KEY}\r", "plain ASCII"),
        ("alice", "lacks namespaces"),
    ],
)  # fmt: skip
def test_a_line_that_does_not_mean_what_it_seems_to_stops_the_start(
    make_site: MakeSite, line: str, said: str
) -> None:
    with pytest.raises(PolicyProblem, match=said) as caught:
        make_site(signers=f"# signers\n\n{line}\n")
    assert "approvals.allowed_signers: line 3 of" in str(caught.value)


def test_comments_and_good_lines_pass(make_site: MakeSite) -> None:
    make_site(
        signers=f"# any comment, cert-authority too, by Jos\u00e9\n\n  # more\n"
        f'alice {NAMESPACE} {KEY} a comment\nbob valid-after="20200101Z",{NAMESPACE} {KEY}\n'
    )


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_signers_file_that_others_can_change_stops_the_start(
    make_site: MakeSite, site_folder: Path, mode: int
) -> None:
    site = make_site()
    (site_folder / "allowed_signers").chmod(mode)
    with pytest.raises(PolicyProblem, match=r"approvals\.allowed_signers: others can change"):
        check_signers_file(site)


@pytest.mark.parametrize("name", ["allowed_signers", "revoked"])
def test_a_file_that_is_not_there_stops_the_start(make_site: MakeSite, site_folder: Path, name: str) -> None:
    site_folder.mkdir()
    (site_folder / "revoked").write_text("")
    site = make_site(approvals__revoked="revoked")
    (site_folder / name).unlink()
    with pytest.raises(PolicyProblem, match=f"approvals.{name}: .* cannot be read"):
        check_signers_file(site)
