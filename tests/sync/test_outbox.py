"""Events on their way out: in order, once, ends first, kept until acknowledged. Real SQLite files."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.sync import outbox
from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import MAX_EVENTS, Event, Events
from jobrunner.sync.signing import sign_event
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage

pytestmark = pytest.mark.unit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def event(job: str = "a", attempt: int = 1, started: int = 0, *, ended: bool = False) -> Event:
    stage, exit_class, reason = Stage.EXECUTING, None, Reason.EXECUTING
    if ended:
        stage, exit_class, reason = Stage.ENDED, ExitClass.SUCCEEDED, Reason.COMPLETED
    return sign_event(
        KEY, event_id=new_id(), job_id=job * 26, attempt=attempt, stage=stage, exit_class=exit_class,
        reason=reason, started=started, finished=started if ended else None,
    )  # fmt: skip


def opened(path: Path | str = ":memory:") -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.executescript(outbox.SCHEMA)
    return connection


def drain(connection: sqlite3.Connection) -> list[outbox.Batch]:
    """Take batches as a controller that stores everything would."""
    found = []
    while (batch := outbox.next_batch(connection)) is not None:
        found.append(batch)
        outbox.acknowledge(connection, tuple(one.event_id for one in batch.events))
    return found


def test_an_empty_outbox_has_no_batch() -> None:
    assert outbox.next_batch(opened()) is None


def test_events_leave_in_the_order_they_came() -> None:
    connection = opened()
    queued = [event(started=second) for second in (5, 3, 9, 1)]
    for one in queued:
        outbox.enqueue(connection, one)
    (batch,) = drain(connection)
    assert list(batch.events) == queued


STEPS = st.tuples(st.sampled_from("abc"), st.integers(1, 2), st.booleans())


@given(st.lists(STEPS, max_size=40))
def test_batches_are_of_one_attempt_in_order_and_ends_go_first(
    steps: list[tuple[str, int, bool]],
) -> None:
    connection = opened()
    queued = [event(job, attempt, ended=ended) for job, attempt, ended in steps]
    for one in queued:
        outbox.enqueue(connection, one)
    batches = drain(connection)
    for key in {(one.job_id, one.attempt) for one in queued}:
        of_key = [one for one in queued if (one.job_id, one.attempt) == key]
        (batch,) = (one for one in batches if (one.job_id, one.attempt) == key)
        # The class refuses a batch of two attempts.
        assert list(Events(events=batch.events).events) == of_key
        assert batch.tells_an_end == any(one.stage is Stage.ENDED for one in of_key)
    ends = [batch.tells_an_end for batch in batches]
    assert ends == sorted(ends, reverse=True)


def test_the_next_batch_is_found_without_a_walk_through_all_that_waits() -> None:
    connection = opened()
    for job in "abc":
        outbox.enqueue(connection, event(job))
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    outbox.next_batch(connection)
    connection.set_trace_callback(None)
    assert len(asked) == 2
    plans = [row[3] for one in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(plans) == 2
    for plan, index in zip(plans, ("outbox_ends", "outbox_attempts"), strict=True):
        assert index in plan
    assert plans[1].startswith("SEARCH")


def test_a_batch_is_never_longer_than_a_message() -> None:
    connection = opened()
    for _ in range(MAX_EVENTS + 1):
        outbox.enqueue(connection, event())
    assert [len(batch.events) for batch in drain(connection)] == [MAX_EVENTS, 1]


def test_the_same_event_again_changes_nothing() -> None:
    connection = opened()
    first, second = event(), event()
    for one in (first, second, first):
        outbox.enqueue(connection, one)
    (batch,) = drain(connection)
    assert list(batch.events) == [first, second]


def test_what_was_not_acknowledged_is_sent_again() -> None:
    connection = opened()
    first, second = event(), event()
    for one in (first, second):
        outbox.enqueue(connection, one)
    outbox.acknowledge(connection, (second.event_id, new_id()))
    assert [one.events for one in drain(connection)] == [(first,)]
    outbox.acknowledge(connection, (first.event_id,))
    assert outbox.next_batch(connection) is None


def test_refused_events_stay_but_are_not_sent() -> None:
    connection = opened()
    refused, other, later = event("a", 1), event("b", 1), event("a", 2)
    for one in (refused, other, later):
        outbox.enqueue(connection, one)
    outbox.refuse(connection, refused.job_id, 1)
    assert [one for batch in drain(connection) for one in batch.events] == [other, later]
    rows = connection.execute("SELECT event_id, state FROM outbox").fetchall()
    assert rows == [(refused.event_id, "refused")]


def test_a_refused_event_does_not_come_back_when_it_is_enqueued_again() -> None:
    connection = opened()
    one = event()
    outbox.enqueue(connection, one)
    outbox.refuse(connection, one.job_id, one.attempt)
    outbox.enqueue(connection, one)
    assert outbox.next_batch(connection) is None


def test_waiting_counts_what_is_still_to_be_sent() -> None:
    connection = opened()
    for one in (event("a"), event("a"), event("b")):
        outbox.enqueue(connection, one)
    outbox.refuse(connection, "b" * 26, 1)
    assert outbox.waiting(connection) == 2
    assert outbox.waiting_for(connection, "a" * 26) == 2
    assert outbox.waiting_for(connection, "b" * 26) == 0


def test_nothing_is_committed_by_the_outbox_itself(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path / "db"), opened(tmp_path / "db")
    outbox.enqueue(writer, event())
    assert outbox.waiting(reader) == 0
    writer.commit()
    assert outbox.waiting(reader) == 1
    writer.close()
    reader.close()


WRITER = """
import os, signal, sqlite3, sys
from jobrunner.sync import outbox
from jobrunner.sync.messages import Event
connection = sqlite3.connect(sys.argv[1])
connection.executescript(outbox.SCHEMA)
for number, line in enumerate(sys.stdin):
    outbox.enqueue(connection, Event.model_validate_json(line))
    if number % 2:
        connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_kill_between_leaves_whole_transactions(tmp_path: Path, count: int) -> None:
    queued = [event(started=second) for second in range(count)]
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "db")],
        input="".join(one.model_dump_json() + "\n" for one in queued).encode(),
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    connection = opened(tmp_path / "db")
    found = [one for batch in drain(connection) for one in batch.events]
    assert found == queued[: count - count % 2]
    connection.close()
