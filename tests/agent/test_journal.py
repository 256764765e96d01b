"""The agent's memory: whole or not at all, whatever kills it (threats.md section 7)."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from jobrunner.agent import last_second, resolutions
from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.journal import (
    MOST_INCIDENTS,
    SCHEMA_VERSION,
    Conflict,
    Journal,
    JournalProblem,
    NotIntended,
)
from jobrunner.agent.outcome import Outcome
from jobrunner.agent.report import Reporter
from jobrunner.sync import outbox
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.messages import Event, Offer
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage
from tests.agent.offers import offer

pytestmark = pytest.mark.unit

REPORTER = Reporter(Ed25519PrivateKey.from_private_bytes(bytes(32)), 1)
STEPS = [step for step in Step if step is not Step.ACCEPT]
OUTCOME = Outcome(ExitClass.FAILED, Reason.INTERNAL_ERROR, "lost", "Something was lost.\nReally.")


def job_of(made: Offer) -> str:
    return job_id_of(made.request_id, made.action)


def event_of(job: str, number: int, second: int = 0) -> Event:
    return REPORTER.stage(job, number, Stage.EXECUTING, second)


def accept(journal: Journal, made: Offer, *, number: int | None = None, **facts: Any) -> Attempt:
    intent = journal.intend_claim(job_of(made), made)
    granted = number or intent.number
    journal.accepted(
        intent.job_id,
        intent.number,
        Accepted(granted, "token", 60, {"slot": 0} | facts),
        event_of(intent.job_id, granted),
    )
    found = journal.get(intent.job_id, granted)
    assert found is not None
    return found


def waiting(journal: Journal) -> list[Event]:
    found: list[Event] = []
    connection = sqlite3.connect(journal._path)
    for (body,) in connection.execute("SELECT body FROM outbox WHERE state = 'waiting' ORDER BY number"):
        found.append(Event.model_validate_json(body))
    connection.close()
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "agent.db")


class JournalMachine(RuleBasedStateMachine):
    """A model in plain dicts beside the real file; the file is opened anew at any moment."""

    attempts = Bundle("attempts")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.journal = Journal(Path(self.folder.name) / "agent.db")
        self.offers = [offer(action=f"action{number}") for number in range(3)]
        self.model: dict[tuple[str, int], dict[str, Any]] = {}
        self.out: list[str] = []
        self.sender: dict[str, tuple[str, int]] = {}
        self.seen = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def _next_event(self, key: tuple[str, int]) -> Event:
        self.seen += 1
        return event_of(*key, self.seen)

    @rule(target=attempts, number=st.integers(0, 2), raised=st.integers(0, 2))
    def claim(self, number: int, raised: int) -> Any:
        made = self.offers[number]
        job = job_of(made)
        known = [key for key in self.model if key[0] == job]
        if known and self.model[max(known)]["step"] is not Step.DONE:
            assert self.journal.intend_claim(job, made).key == max(known)
            return multiple()
        intent = self.journal.intend_claim(job, made)
        assert intent.key == (job, max((key[1] for key in known), default=0) + 1)
        assert intent.step is Step.ACCEPT
        key = (job, intent.number + raised)
        event = self._next_event(key)
        self.journal.accepted(job, intent.number, Accepted(key[1], f"t{key[1]}", 60, {"slot": number}), event)
        self.out.append(event.event_id)
        self.sender[event.event_id] = (event.job_id, event.attempt)
        self.model[key] = {
            "step": Step.VERIFY, "facts": {"slot": number}, "outcome": None,
            "cancel": None, "superseded": False,
        }  # fmt: skip
        return key

    @rule(
        key=attempts,
        step=st.sampled_from(STEPS[:-1]),
        facts=st.dictionaries(st.sampled_from("ab"), st.integers() | st.lists(st.text("\u00e9'\""))),
        ends=st.booleans(),
        told=st.booleans(),
    )
    def advance(
        self, key: tuple[str, int], step: Step, facts: dict[str, Any], ends: bool, told: bool
    ) -> None:
        row = self.model[key]
        if row["step"] is Step.DONE:
            return
        event = self._next_event(key) if told else None
        self.journal.advance(
            self._get(key), step, facts=facts, outcome=OUTCOME if ends else None, event=event
        )
        row["step"], row["facts"] = step, row["facts"] | facts
        row["outcome"] = OUTCOME if ends else row["outcome"]
        if event is not None:
            self.out.append(event.event_id)
            self.sender[event.event_id] = key

    @rule(key=consumes(attempts))
    def finish(self, key: tuple[str, int]) -> None:
        self.journal.advance(self._get(key), Step.DONE)
        self.model[key]["step"] = Step.DONE

    @rule(key=attempts, step=st.sampled_from(STEPS))
    def fail_in_the_middle(self, key: tuple[str, int], step: Step) -> None:
        # The step is written first and the event, which cannot be written, after it.
        with pytest.raises(AttributeError):
            self.journal.advance(self._get(key), step, facts={"a": -1}, outcome=OUTCOME, event="no event")  # type: ignore[arg-type]

    @rule(key=attempts, reason=st.sampled_from([Reason.BY_REQUESTER, Reason.BY_SITE]))
    def cancel(self, key: tuple[str, int], reason: Reason) -> None:
        self.journal.wish_cancel(*key, reason)
        self.model[key]["cancel"] = self.model[key]["cancel"] or reason

    @rule(key=attempts)
    def supersede(self, key: tuple[str, int]) -> None:
        gone = {event.event_id for event in waiting(self.journal) if (event.job_id, event.attempt) == key}
        self.journal.supersede(*key)
        self.model[key]["superseded"] = True
        self.out = [event_id for event_id in self.out if event_id not in gone]

    @rule()
    def deliver(self) -> None:
        with self.journal.transaction() as connection:
            batch = outbox.next_batch(connection)
            if batch is None:
                return
            ids = tuple(event.event_id for event in batch.events)
            outbox.acknowledge(connection, ids)
        sender = (batch.job_id, batch.attempt)
        assert list(ids) == [event_id for event_id in self.out if self.sender[event_id] == sender]
        self.out = [event_id for event_id in self.out if event_id not in ids]

    @rule()
    def open_anew(self) -> None:
        self.journal = Journal(Path(self.folder.name) / "agent.db")

    def _get(self, key: tuple[str, int]) -> Attempt:
        found = self.journal.get(*key)
        assert found is not None
        return found

    @invariant()
    def the_file_holds_what_the_model_holds(self) -> None:
        for key, row in self.model.items():
            found = self._get(key)
            assert {name: getattr(found, name) for name in row} == row
            assert found.token == f"t{key[1]}"
        open_keys = {key for key, row in self.model.items() if row["step"] is not Step.DONE}
        assert {attempt.key for attempt in self.journal.open_attempts()} == open_keys
        assert [event.event_id for event in waiting(self.journal)] == self.out


JournalMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestJournal = JournalMachine.TestCase


# --- pinning ---


def test_a_job_id_is_pinned_to_its_six_fields(journal: Journal) -> None:
    made = offer()
    job = job_of(made)
    journal.advance(accept(journal, made), Step.DONE)
    for changes in (
        {"project": "other"},
        {"repo": "https://git.example/org/other"},
        {"branch": "other"},
        {"commit": "1" * 40},
    ):
        with pytest.raises(Conflict):
            journal.intend_claim(job, made.model_copy(update=changes))
    again = journal.intend_claim(job, made.model_copy(update={"approval": "a newer approval"}))
    assert (again.number, again.facts) == (2, {})


def test_a_contradicting_claim_stays_marked_after_a_restart(journal: Journal, tmp_path: Path) -> None:
    made = offer()
    journal.advance(accept(journal, made), Step.DONE)
    other = made.model_copy(update={"commit": "1" * 40})
    intent = journal.intend_conflicting_claim(job_of(made), other)
    assert intent.number == 2
    reopened = Journal(tmp_path / "state" / "agent.db")
    assert accept(reopened, made).facts == {"slot": 0, "conflict": True}


def test_a_contradiction_of_a_running_attempt_does_not_touch_it(journal: Journal) -> None:
    made = offer()
    running = accept(journal, made)
    found = journal.intend_conflicting_claim(job_of(made), made.model_copy(update={"commit": "1" * 40}))
    assert found == running
    assert journal.get(*running.key) == running


def test_a_claim_is_accepted_once(journal: Journal) -> None:
    made = offer()
    running = accept(journal, made)
    journal.advance(running, Step.WAIT, facts={"begun": 1})
    before = waiting(journal)
    with pytest.raises(NotIntended):
        journal.accepted(*running.key, Accepted(1, "other", 60, {"slot": 1}), event_of(*running.key))
    found = journal.get(*running.key)
    assert found is not None
    assert (found.step, found.token, found.facts) == (Step.WAIT, "token", {"slot": 0, "begun": 1})
    assert waiting(journal) == before


def test_a_forgotten_claim_leaves_nothing_and_a_running_attempt_is_not_forgotten(journal: Journal) -> None:
    made = offer()
    intent = journal.intend_claim(job_of(made), made)
    journal.forget_claim(*intent.key)
    assert journal.get(*intent.key) is None
    running = accept(journal, made)
    journal.forget_claim(*running.key)
    assert journal.get(*running.key) == running


def test_the_controller_may_raise_the_attempt_number(journal: Journal) -> None:
    made = offer()
    assert accept(journal, made, number=3).number == 3
    assert [attempt.number for attempt in journal.attempts_of(job_of(made))] == [3]


def test_serials_of_approvals_only_grow(journal: Journal) -> None:
    assert journal.highest_serial("p") == 0
    for serial, highest in ((5, 5), (3, 5), (5, 5), (6, 6)):
        journal.accept_approval("p", serial, "d" * 64)
        assert journal.highest_serial("p") == highest
    assert journal.highest_serial("q") == 0


def test_incidents_are_newest_first(journal: Journal) -> None:
    journal.note("a", "", "first")
    journal.note("b", "detail", "second", job_id="j", attempt=2)
    assert [row[1:] for row in journal.incidents(5)] == [
        ("j", 2, "b", "detail", "second"),
        (None, None, "a", "", "first"),
    ]
    assert len(journal.incidents(1)) == 1


# --- transactions ---


def test_an_error_inside_leaves_nothing(journal: Journal) -> None:
    def fail() -> None:
        with journal.transaction() as connection:
            connection.execute("INSERT INTO approvals VALUES ('p', 1, 'd')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert journal.highest_serial("p") == 0
    journal.accept_approval("p", 2, "d")


def test_a_full_disk_is_told_as_such_and_the_journal_goes_on(journal: Journal) -> None:
    connection = journal._connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.note("x", "", "m" * 100_000)
    connection.execute("PRAGMA max_page_count = 1000000")
    journal.note("x", "", "there is room again")
    assert len(journal.incidents(5)) == 1


def test_threads_share_a_journal(journal: Journal) -> None:
    def work(name: str) -> None:
        for number in range(20):
            journal.note(name, "", str(number))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.incidents(100)) == 60


def test_every_transaction_is_synced_to_the_disk(journal: Journal) -> None:
    def work() -> tuple[str, int]:
        connection = journal._connection()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (sync,) = connection.execute("PRAGMA synchronous").fetchone()
        return mode, sync

    full = 2
    assert work() == ("wal", full)
    found: list[tuple[str, int]] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    assert found == [("wal", full)]


def test_nobody_else_may_look_into_the_journals_folder(journal: Journal, tmp_path: Path) -> None:
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


# --- kill -9 ---


def run_child(code: str, place: Path, *, kill_after_s: float | None = None) -> None:
    """Run Python code with the journal's place as its argument until it is killed."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place)], env=environment, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        if kill_after_s is not None:
            assert child.stdout.readline() == b"begun\n"
            time.sleep(kill_after_s)
            child.kill()
        assert child.wait(timeout=30) == -signal.SIGKILL


DIE_INSIDE = """
import os, signal, sys
from pathlib import Path
from tests.agent.test_journal import *
journal = Journal(Path(sys.argv[1]))
(attempt,) = journal.open_attempts()
enqueue = outbox.enqueue
def enqueue_and_die(connection, event):
    WHEN
outbox.enqueue = enqueue_and_die
journal.advance(attempt, Step.WAIT, facts={"begun": 5}, outcome=OUTCOME, event=event_of(*attempt.key, 5))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "when",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "enqueue(connection, event); os.kill(os.getpid(), signal.SIGKILL)",
    ],
    ids=["before the event", "before the commit"],
)
def test_a_kill_inside_of_a_transaction_leaves_the_step_before(
    journal: Journal, tmp_path: Path, when: str
) -> None:
    before = accept(journal, offer())
    told = waiting(journal)
    run_child(DIE_INSIDE.replace("WHEN", when), tmp_path / "state" / "agent.db")
    assert Journal(tmp_path / "state" / "agent.db").get(*before.key) == before
    assert waiting(journal) == told


ADVANCE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from tests.agent.test_journal import *
journal = Journal(Path(sys.argv[1]))
(attempt,) = journal.open_attempts()
print("begun", flush=True)
for number in itertools.count(1):
    step = Step.START if number % 2 else Step.WAIT
    journal.advance(attempt, step, facts={"count": number}, event=event_of(*attempt.key, number))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.05, 0.13])
def test_a_kill_at_any_moment_leaves_a_whole_state(journal: Journal, tmp_path: Path, after_s: float) -> None:
    attempt = accept(journal, offer())
    run_child(ADVANCE_FOR_EVER, tmp_path / "state" / "agent.db", kill_after_s=after_s)
    found = Journal(tmp_path / "state" / "agent.db").get(*attempt.key)
    assert found is not None
    count = found.facts["count"]
    assert count > 0
    assert found.step is (Step.START if count % 2 else Step.WAIT)
    # The first event is that of the claim; each later one came with its step.
    assert [event.started for event in waiting(journal)][1:] == list(range(1, count + 1))


def test_a_step_whose_event_cannot_be_queued_is_not_done(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = accept(journal, offer())

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jobrunner.sync.outbox.enqueue", full)
    with pytest.raises(OSError, match="No space"):
        journal.advance(attempt, Step.START, facts={"count": 1}, event=event_of(*attempt.key, 1))
    found = journal.get(*attempt.key)
    assert found is not None
    assert (found.step, found.facts) == (attempt.step, attempt.facts)


# --- other versions ---


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_the_journal_of_another_version_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    place = tmp_path / "agent.db"
    connection = sqlite3.connect(place)
    connection.execute("CREATE TABLE attempts (other TEXT)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    with pytest.raises(JournalProblem, match="another version"):
        Journal(place)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("attempts",)]
    connection.close()


@pytest.mark.parametrize("version", [1, 2])
def test_the_journal_of_an_older_version_goes_on_with_the_tables_that_it_lacks(
    tmp_path: Path, version: int
) -> None:
    place = tmp_path / "agent.db"
    Journal(place).note("word", "", "kept")
    with sqlite3.connect(place) as connection:
        for table in ["resolutions", "last_second"][version - 1 :]:
            connection.execute(f"DROP TABLE {table}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for _ in range(2):
        journal = Journal(place)
        assert [row[5] for row in journal.incidents(9)] == ["kept"]
        with journal.transaction() as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
            assert resolutions.keep(connection, "r", "repo", "v1", "a" * 40) == "a" * 40
            last_second.keep(connection, 1)


def test_the_first_answer_of_a_tag_counts_in_a_request_and_in_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "agent.db")
    with journal.transaction() as connection:
        assert resolutions.find(connection, "one", "repo", "v1") is None
        assert resolutions.keep(connection, "one", "repo", "v1", "a" * 40) == "a" * 40
        assert resolutions.keep(connection, "one", "repo", "v1", "b" * 40) == "a" * 40
        assert resolutions.keep(connection, "two", "repo", "v1", "b" * 40) == "b" * 40
        assert resolutions.find(connection, "one", "repo", "v2") is None
        assert resolutions.find(connection, "one", "other", "v1") is None


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "agent.db"
    place.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(JournalProblem, match="cannot be read"):
        Journal(place)
    assert place.read_bytes() == b"this is no database at all" * 100


def test_P19_incidents_have_a_limit_and_the_newest_stay(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_INCIDENTS == 10_000
    monkeypatch.setattr("jobrunner.agent.journal.MOST_INCIDENTS", 3)
    for number in range(5):
        journal.note("internal_error", "lost", str(number))
    assert [row[-1] for row in journal.incidents(100)] == ["4", "3", "2"]


def test_P19_an_incident_of_great_length_is_kept_in_part(journal: Journal) -> None:
    journal.note("internal_error", "lost", "é" * 300_000)
    ((*_, long),) = journal.incidents(1)
    assert long.endswith("... (600000 bytes in all)")
    assert len(long.encode()) < 16 * 1024 + 40
