"""What the operator reads: everything that never leaves, and nothing that a terminal would obey."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent.attempt_rows import Accepted, Step
from jobrunner.agent.dispatch import Places
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import Outcome, is_incident
from jobrunner.agent.overview import overview_lines, overview_value
from jobrunner.agent.report import Reporter
from jobrunner.agent.status import status_lines
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage
from tests.agent.offers import offer
from tests.agent.policies import write_site

pytestmark = pytest.mark.unit


def fill(journal: Journal, action: str, step: Step, outcome: Outcome | None) -> str:
    made = offer(action=action)
    job = job_id_of(made.request_id, action)
    journal.intend_claim(job, made)
    event = Reporter(Ed25519PrivateKey.generate(), 1).stage(job, 1, Stage.PREPARING)
    journal.accepted(job, 1, Accepted(1, "canary-token", 60, {"slot": 0}), event)
    attempt = journal.get(job, 1)
    assert attempt is not None
    journal.advance(attempt, step, outcome=outcome)
    return f"{job}-1"


def test_before_the_first_start(site_folder: Path) -> None:
    (line,) = status_lines(write_site(site_folder), 20)
    assert "has not run yet" in line
    assert not (site_folder / "state").exists()


def test_attempts_with_their_reasons_and_incidents(site_folder: Path) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    ended = fill(
        journal,
        "describe",
        Step.DONE,
        Outcome(ExitClass.REFUSED, Reason.SITE_POLICY, "wrong_site", "For the other site.\nNot for us."),
    )
    running = fill(journal, "model", Step.WAIT, None)
    journal.note("site_policy", "unknown_field", "The controller's answer to poll was refused.")
    text = "\n".join(status_lines(place, 20))
    assert re.search(rf"heart-study  describe  {ended}  refused/site_policy \(wrong_site\)$", text, re.M)
    assert "\n      For the other site.\n      Not for us.\n" in text
    assert re.search(rf"heart-study  model  {running}  not ended, at step wait$", text, re.M)
    assert "site_policy unknown_field: The controller's answer to poll was refused." in text
    assert "canary-token" not in text
    assert "\n2 newest attempts (UTC):\n" in text
    assert "\n1 newest incident (UTC):\n" in text


def test_only_the_newest_are_shown(site_folder: Path) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    for number in range(5):
        fill(journal, f"action{number}", Step.DONE, None)
        journal.note("x", "", f"note {number}")
    lines = list(status_lines(place, 2))
    assert lines[0] == "The agent is not running."
    assert lines[1].startswith("2 newest attempts")
    assert sum("heart-study" in line for line in lines) == 2
    assert "note 4" in lines[-2]


@pytest.mark.parametrize(
    ("reason", "exit_class", "own"),
    [
        (Reason.NONZERO_EXIT, ExitClass.FAILED, True),
        (Reason.OUTPUTS_REFUSED, ExitClass.FAILED, True),
        (Reason.OUT_OF_TIME, ExitClass.FAILED, True),
        (Reason.INTERNAL_ERROR, ExitClass.FAILED, False),
        (Reason.SITE_POLICY, ExitClass.REFUSED, False),
        (Reason.APPROVAL_EXPIRED, ExitClass.REFUSED, False),
    ],
)
def test_what_a_study_did_wrong_is_counted_apart(
    site_folder: Path, reason: Reason, exit_class: ExitClass, own: bool
) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    outcome = Outcome(exit_class, reason, "", "It ended so.")
    fill(journal, "describe", Step.DONE, outcome)
    fill(journal, "model", Step.DONE, Outcome(ExitClass.SUCCEEDED, Reason.COMPLETED))
    text = "\n".join(status_lines(place, 20))
    assert is_incident(outcome) is not own
    assert ("Jobs that failed in the study's own code: 1;" in text) is own
    assert ("Jobs that failed in the study's own code: 0." in text) is not own


def test_no_cancelled_job_is_an_incident() -> None:
    for reason in (Reason.BY_REQUESTER, Reason.BY_CONTROLLER, Reason.BY_SITE):
        assert not is_incident(Outcome(ExitClass.CANCELLED, reason))


def test_a_number_reads_as_people_say_it() -> None:
    value = overview_value(
        state="paused by the controller",
        policy="0" * 64,
        version="1",
        started=0,
        answered=None,
        problem="",
        halts=[],
        tried=None,
        places=Places(total=2, taken=1, database=0, database_taken=0),
        waiting_events=0,
        running=[
            {"name": "x-1", "project": "p", "action": "a", "database": False, "doing": "running", "since": 0}
        ],
    )
    lines = list(overview_lines(value, now=5))
    assert lines[1] == "It starts nothing new; what runs goes on."
    assert "1 job now:" in lines


@pytest.mark.parametrize("sign", ["\x1b[2J", "\x07", "\r", "\u202e", "\u200b", "\x9b", "\x00"])
def test_no_text_from_outside_reaches_the_terminal_as_a_command(site_folder: Path, sign: str) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    outcome = Outcome(ExitClass.FAILED, Reason.OUTPUTS_REFUSED, "", f"Output {sign}x.csv was refused.")
    fill(journal, f"a{sign}b", Step.DONE, outcome)
    journal.note("site_policy", "unknown_field", f"{sign}: extra_forbidden")
    text = "\n".join(status_lines(place, 20))
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert f"u{{{ord(sign[0]):x}}}" in text


def test_reading_changes_nothing(site_folder: Path) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    fill(journal, "describe", Step.WAIT, None)
    before = journal.open_attempts()
    list(status_lines(place, 20))
    assert journal.open_attempts() == before


def test_P19_a_message_without_end_is_shown_in_part(site_folder: Path) -> None:
    place = write_site(site_folder)
    journal = Journal(site_folder / "state" / "agent.db")
    many = "\n".join(f"No file matches the output {number}." for number in range(3_000))
    fill(journal, "many", Step.DONE, Outcome(ExitClass.FAILED, Reason.OUTPUTS_MISSING, "", many))
    fill(journal, "long", Step.DONE, Outcome(ExitClass.FAILED, Reason.OUTPUTS_MISSING, "", "\x1b" * 600_000))
    journal.note("internal_error", "lost", many)
    lines = list(status_lines(place, 20))
    shown = [line for line in lines if line.startswith("      No file")]
    assert len(shown) == 20
    assert "      ... and 2980 more lines." in lines
    assert max(map(len, lines)) < 4_100
    assert sum(map(len, lines)) < 12_000
