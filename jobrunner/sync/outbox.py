"""Events on their way out: kept until acknowledged, those of one attempt in order (design.md section 5
"Nothing is lost").

The table lives in the agent's journal, so that a step and the event that reports it are one transaction.
Functions here never commit; the caller's transaction does.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from jobrunner.sync.messages import MAX_EVENTS, Event
from jobrunner.sync.vocabulary import Stage

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'refused'))
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_ends ON outbox (
    (json_extract(body, '$.stage') = 'ended') DESC, number
) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS outbox_attempts ON outbox (job_id, attempt, number) WHERE state = 'waiting'
"""
"""Table and indexes: a million events may wait, and each look at them keeps others from the journal."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest waiting events of one attempt, in order."""

    job_id: str
    attempt: int
    events: tuple[Event, ...]

    @property
    def tells_an_end(self) -> bool:
        """Whether the attempt's end is among them."""
        return any(event.stage is Stage.ENDED for event in self.events)


def enqueue(connection: sqlite3.Connection, event: Event) -> None:
    """Put one event at the end of the queue; the same event a second time changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO outbox (event_id, job_id, attempt, body) VALUES (?, ?, ?, ?)",
        (event.event_id, event.job_id, event.attempt, event.model_dump_json()),
    )


def next_batch(connection: sqlite3.Connection) -> Batch | None:
    """The waiting events of one attempt: of the one that ended first, since the answer to an end brings the
    next job; when none has ended, of the one whose news has waited longest.
    """
    # In the very words of the index, or it would not serve.
    chosen = connection.execute(
        "SELECT job_id, attempt FROM outbox WHERE state = 'waiting'"
        " ORDER BY (json_extract(body, '$.stage') = 'ended') DESC, number LIMIT 1"
    ).fetchone()
    if chosen is None:
        return None
    rows = connection.execute(
        "SELECT body FROM outbox WHERE state = 'waiting' AND job_id = ? AND attempt = ?"
        " ORDER BY number LIMIT ?",
        (*chosen, MAX_EVENTS),
    )
    events = tuple(Event.model_validate_json(body) for (body,) in rows)
    return Batch(job_id=chosen[0], attempt=chosen[1], events=events)


def acknowledge(connection: sqlite3.Connection, event_ids: tuple[str, ...]) -> None:
    """Forget events that the controller has stored."""
    connection.executemany("DELETE FROM outbox WHERE event_id = ?", [(event_id,) for event_id in event_ids])


def refuse(connection: sqlite3.Connection, job_id: str, attempt: int) -> None:
    """Set aside the events of an attempt that the controller will never take; they stay in the journal."""
    connection.execute(
        "UPDATE outbox SET state = 'refused' WHERE job_id = ? AND attempt = ? AND state = 'waiting'",
        (job_id, attempt),
    )


def waiting(connection: sqlite3.Connection) -> int:
    """How many events still wait to be sent."""
    (count,) = connection.execute("SELECT count(*) FROM outbox WHERE state = 'waiting'").fetchone()
    return int(count)


def waiting_for(connection: sqlite3.Connection, job_id: str) -> int:
    """How many events of one job still wait to be sent."""
    (count,) = connection.execute(
        "SELECT count(*) FROM outbox WHERE state = 'waiting' AND job_id = ?", (job_id,)
    ).fetchone()
    return int(count)
