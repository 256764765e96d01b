"""`jobrunner approval`: written, read, signed by one after the other, and checked."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from jobrunner.cli.approval import app
from jobrunner.cli.approval_file import ApprovalFile
from jobrunner.cli.approval_words import words
from jobrunner.cli.errors import Stop
from jobrunner.sync.approvals import Payload, canonical
from jobrunner.sync.messages import MAX_APPROVAL_BYTES, parse
from tests.agent.approvers import NOW, Approver, envelope, payload

pytestmark = pytest.mark.unit

NEW = [
    "new", "--project", "heart", "--site", "north", "--repo", "https://github.com/org/heart",
    "--branch", "main",
]  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("alice"), "alice")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("bob"), "bob")


def run(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], input=typed)


def printed(*arguments: object, typed: str | None = None) -> str:
    result = run(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def stopped(*arguments: object, typed: str | None = None) -> str:
    result = run(*arguments, typed=typed)
    assert isinstance(result.exception, Stop), result
    return str(result.exception)


def said(**changes: Any) -> str:
    text = canonical(payload(**changes))
    approval = ApprovalFile(text, parse(Payload, text.encode()), ())
    return "\n".join(words(approval, NOW))


# --- new ---


def test_what_is_not_narrowed_is_all() -> None:
    made = json.loads(printed(*NEW))
    assert (made["commits"], made["actions"]) == ("on_branch", "all")
    assert (made["database"], made["datasets"]) == (False, [])


def test_commits_actions_and_datasets_are_lists() -> None:
    narrow = ["--commit", COMMIT, "--commit", "f" * 40, "--action", "describe", "--action", "model"]
    made = json.loads(printed(*NEW, *narrow, "--database", "--dataset", "cohort", "--dataset", "deaths"))
    assert made["commits"] == [COMMIT, "f" * 40]
    assert made["actions"] == ["describe", "model"]
    assert (made["database"], made["datasets"]) == (True, ["cohort", "deaths"])


@pytest.mark.parametrize("commit", ["", "main", COMMIT[:39], COMMIT.upper(), COMMIT + "0"])
def test_a_commit_is_named_by_its_whole_id(commit: str) -> None:
    assert "give the whole id" in stopped(*NEW, "--commit", commit)


@pytest.mark.parametrize("half", [["--database"], ["--dataset", "cohort"]])
def test_a_database_has_a_dataset_and_the_other_way_round(half: list[str]) -> None:
    assert "go together" in stopped(*NEW, *half)


@pytest.mark.parametrize("wrong", [["--action", "x" * 129], ["--site", "North"], ["--commit", COMMIT] * 201])
def test_what_no_agent_would_take_is_not_written(wrong: list[str]) -> None:
    assert "would not be valid" in stopped(*NEW, *wrong)


# --- show ---


def test_an_approval_of_everything_in_plain_words() -> None:
    text = said(sites=["north", "south"], branches=["main", "dev"])
    for line in (
        "Approval heart-study-1, serial 1, of project heart-study.",
        "  may run    every action of the study",
        "  of         https://git.example/org/heart",
        "  on branch  main\n             dev",
        "  at         every commit that is on the branch then, those to come as well",
        "  in         north\n             south",
        "  database   none",
        "  signed by  nobody yet: it counts nowhere",
    ):
        assert f"\n{line}\n" in f"\n{text}\n"
    assert "verify" not in text


def test_a_narrow_one_names_what_it_allows() -> None:
    text = said(commits=[COMMIT], actions=["model"], database=True, datasets=["cohort"])
    assert f"  at         commit {COMMIT}\n" in text
    assert "  may run    model\n" in text
    assert "  database   dataset cohort\n" in text
    assert "every" not in text


@pytest.mark.parametrize(
    ("left", "words_"),
    [
        (-1, "WHICH IS OVER"), (0, "WHICH IS OVER"), (1, "less than a day from now"),
        (86400, "1 day from now"), (8640000, "100 days from now"),
    ],
)  # fmt: skip
def test_its_end_is_told_from_today(left: int, words_: str) -> None:
    day = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW + left))
    assert f"  until      {day}, {words_}\n" in said(not_before=0, not_after=NOW + left)


def test_a_date_beyond_the_calendar_is_shown_all_the_same() -> None:
    assert "  until      9999-12-31" in said(not_after=2**40)


@pytest.mark.parametrize(
    ("database", "datasets", "shown"),
    [(True, [], "none, since no dataset is named"), (False, ["x"], "none, although x is named")],
)
def test_a_database_that_nobody_gets_is_said_to_be_none(
    database: bool, datasets: list[str], shown: str
) -> None:
    assert f"  database   {shown}\n" in said(database=database, datasets=datasets)


def test_the_keys_are_those_that_claim_to_have_signed(tmp_path: Path, alice: Approver, bob: Approver) -> None:
    file = tmp_path / "approval.json"
    file.write_text(envelope(payload(), alice, bob))
    shown = printed("show", file)
    assert shown.count("SHA256:") == 2
    assert "`jobrunner approval verify` says" in shown
    assert printed("show", "-", typed=file.read_text()) == shown
    spoiled = json.loads(file.read_text()) | {"signatures": ["none"]}
    assert "signed by  a key that cannot be read" in printed("show", "-", typed=json.dumps(spoiled))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "not JSON"), ("[]", "message"), ('{"payload": 1}', "payload"), ("{", "not JSON"),
        (" " * (MAX_APPROVAL_BYTES + 1), "too large"), ("\ud800", "as text"),
        (json.dumps(payload()), "canonical"), (canonical(payload(extra=1)), "extra"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["show", "sign"])
def test_what_is_no_approval_is_refused_in_a_sentence(
    tmp_path: Path, alice: Approver, command: str, content: str, why: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    more = ["--key", alice.key] if command == "sign" else []
    message = stopped(command, file, *more)
    assert why in message
    assert "\n" not in message


def test_a_file_that_is_not_there() -> None:
    assert "cannot be read" in stopped("show", "/nowhere/approval.json")


# --- sign and verify ---


def test_two_people_sign_one_after_the_other_and_the_site_takes_it(
    tmp_path: Path, alice: Approver, bob: Approver
) -> None:
    text, first, second, signers = (tmp_path / name for name in ("text", "first", "second", "signers"))
    text.write_text(printed(*NEW))
    first.write_text(printed("sign", text, "--key", alice.key))
    second.write_text(printed("sign", first, "--key", bob.key))
    signers.write_text(alice.line() + bob.line())
    asked = ("--signers", signers, "--threshold", 2, "--site", "north")
    shown = printed("verify", second, *asked)
    assert "REFUSED" not in shown
    assert "alice with SHA256:" in shown
    assert "Not looked at, since not given: --serial." in shown
    assert printed("verify", "-", *asked, typed=second.read_text()) == shown

    result = run("verify", first, *asked)
    assert isinstance(result.exception, Stop)
    assert str(result.exception) == "The agent refuses this approval: approval_invalid (threshold)."
    assert "REFUSED  people      approval_invalid (threshold): " in result.stdout
    assert "Have another person of the list sign it too" in result.stdout
    assert "Sign it if nobody has" in run("verify", text, *asked).stdout


def test_a_revoked_key_and_a_list_that_is_none(tmp_path: Path, alice: Approver) -> None:
    file, signers, revoked = (tmp_path / name for name in ("file", "signers", "revoked"))
    file.write_text(envelope(payload(), alice))
    signers.write_text(alice.line())
    revoked.write_text(alice.public + "\n")
    asked = ("verify", file, "--signers", signers)
    assert "held     signatures" in printed(*asked)
    assert stopped(*asked, "--revoked", revoked).endswith("approval_invalid (revoked).")
    signers.write_text(f"alice {alice.public}\n")
    assert "would not start with these files" in stopped(*asked)


def test_a_sign_that_a_terminal_would_obey_is_shown_as_its_code() -> None:
    shown = printed("show", "-", typed=canonical(payload(actions=["a\x1b[2J"])))
    assert "  may run    a\\x1b[2J\n" in shown
