"""Events on their way out: kept until acknowledged, sent in order (design.md section 5 "Nothing is lost").

The table lives in the agent's journal, so that a step and the event that reports it are one transaction.
Functions here never commit; the caller's transaction does.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from jobrunner.sync.messages import MAX_EVENTS, Event

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'refused'))
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest waiting events of one attempt, in order."""

    job_id: str
    attempt: int
    events: tuple[Event, ...]


def enqueue(connection: sqlite3.Connection, event: Event) -> None:
    """Put one event at the end of the queue; the same event a second time changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO outbox (event_id, job_id, attempt, body) VALUES (?, ?, ?, ?)",
        (event.event_id, event.job_id, event.attempt, event.model_dump_json()),
    )


def next_batch(connection: sqlite3.Connection) -> Batch | None:
    """The oldest waiting event and those of the same attempt that follow it at once."""
    rows = connection.execute(
        "SELECT job_id, attempt, body FROM outbox WHERE state = 'waiting' ORDER BY number LIMIT ?",
        (MAX_EVENTS,),
    ).fetchall()
    if not rows:
        return None
    job_id, attempt = rows[0][0], rows[0][1]
    events = []
    for row in rows:
        if (row[0], row[1]) != (job_id, attempt):
            break
        events.append(Event.model_validate_json(row[2]))
    return Batch(job_id=job_id, attempt=attempt, events=tuple(events))


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
