"""The agent's memory: which attempts there are, at which step each one is, and what still has to be told.

One SQLite file with full sync. A step writes its intent first, acts, then moves on; the move and the event
that reports it are one transaction, so a kill between any two instructions loses neither.
"""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from jobrunner.agent import attempt_rows, clock, last_second, resolutions
from jobrunner.agent.attempt_rows import COLUMNS, Accepted, Attempt, Step
from jobrunner.agent.outcome import Outcome, shortened
from jobrunner.agent.reserve import Reserve, is_no_room
from jobrunner.sync import outbox
from jobrunner.sync.messages import Event, Offer
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

SCHEMA_VERSION: Final = 3

MOST_INCIDENTS: Final = 10_000

_SCHEMA: Final = f"""
{attempt_rows.SCHEMA};
CREATE TABLE approvals (
    project TEXT NOT NULL PRIMARY KEY,
    serial INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    second INTEGER NOT NULL,
    job_id TEXT,
    attempt INTEGER,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
{outbox.SCHEMA};
{resolutions.SCHEMA};
{last_second.SCHEMA};
"""
# What a journal of each older version lacks.
_ADDED_SINCE: Final = {
    1: f"{outbox.SCHEMA};\n{resolutions.SCHEMA};\n{last_second.SCHEMA}",
    2: last_second.SCHEMA,
}


class JournalProblem(Exception):
    """The journal cannot be used; the text says what to do."""


class Conflict(Exception):
    """A job id that the journal knows came with other fields than before (threats.md section 6)."""


class NotIntended(Exception):
    """A claim was granted that nobody intends any more: another thread accepted it or gave it up."""


class Journal:
    """The journal file. Safe to share between the agent's threads; each has its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self.reserve = Reserve(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            try:
                self._open()
            except sqlite3.OperationalError as error:
                if not is_no_room(error):
                    raise
                # Now the reserve's room is there.
                self._open()
        except sqlite3.DatabaseError as error:
            raise JournalProblem(f"{path} cannot be read ({error}); move it away if it is lost.") from error

    def _open(self) -> None:
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                _execute(connection, _SCHEMA)
            elif version in _ADDED_SINCE:
                _execute(connection, _ADDED_SINCE[version])
            elif version != SCHEMA_VERSION:
                raise JournalProblem(
                    f"{self._path} was written by another version of jobrunner ({version}); "
                    "run the version that wrote it until it is idle, then move the file away."
                )
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of it is on the disk afterwards, or none."""
        with self._making_room():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # After some errors, a full disk among them, SQLite has rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _making_room(self) -> Iterator[None]:
        """When the disk is full, give the reserve away: whoever was writing tries again, and then it goes."""
        try:
            yield
        except sqlite3.Error as problem:
            if is_no_room(problem) and self.reserve.release():
                log.error("reserve_released", problem=str(problem))
            raise

    # --- attempts ---

    def open_attempts(self) -> list[Attempt]:
        """Attempts that are not done, oldest first."""
        rows = self._connection().execute(
            f"SELECT {COLUMNS} FROM attempts WHERE step <> 'done' ORDER BY created, job_id"  # noqa: S608
        )
        return [attempt_rows.read(row) for row in rows]

    def attempts_of(self, job_id: str) -> list[Attempt]:
        """All attempts of a job that this agent knows, by number."""
        rows = self._connection().execute(
            f"SELECT {COLUMNS} FROM attempts WHERE job_id = ? ORDER BY attempt",  # noqa: S608
            (job_id,),
        )
        return [attempt_rows.read(row) for row in rows]

    def get(self, job_id: str, number: int) -> Attempt | None:
        """One attempt, or None if the journal has no such."""
        row = (
            self._connection()
            .execute(
                f"SELECT {COLUMNS} FROM attempts WHERE job_id = ? AND attempt = ?",  # noqa: S608
                (job_id, number),
            )
            .fetchone()
        )
        return None if row is None else attempt_rows.read(row)

    def recent(self, limit: int) -> list[Attempt]:
        """The newest attempts first, for the site's operator."""
        rows = self._connection().execute(
            f"SELECT {COLUMNS} FROM attempts ORDER BY created DESC, job_id LIMIT ?",  # noqa: S608
            (limit,),
        )
        return [attempt_rows.read(row) for row in rows]

    def intend_claim(self, job_id: str, offer: Offer) -> Attempt:
        """Write down that a job is about to be claimed, with the number to ask for.

        An unfinished attempt of this job is returned as it is. Raises Conflict when the six fields are not
        those that the job id had before.
        """
        known = self.attempts_of(job_id)
        if known:
            first = known[0].offer
            if offer.model_copy(update={"approval": first.approval}) != first:
                raise Conflict(job_id)
        return self._intend(job_id, offer, known)

    def intend_conflicting_claim(self, job_id: str, offer: Offer) -> Attempt:
        """The same for an offer that contradicts the journal: it is claimed only to be refused.

        The intent itself keeps the fact `conflict`, since the claim may be granted after a restart.
        """
        intent = self._intend(job_id, offer, self.attempts_of(job_id))
        mark = "UPDATE attempts SET facts = ? WHERE job_id = ? AND attempt = ? AND step = 'accept'"
        with self.transaction() as connection:
            connection.execute(mark, ('{"conflict": true}', *intent.key))
        return intent

    def _intend(self, job_id: str, offer: Offer, known: list[Attempt]) -> Attempt:
        if known and known[-1].step is not Step.DONE:
            return known[-1]
        number = known[-1].number + 1 if known else 1
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO attempts (job_id, attempt, offer, boot_id, step, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, number, offer.model_dump_json(), clock.boot_id(), Step.ACCEPT, clock.now()),
            )
        found = self.get(job_id, number)
        if found is None:
            raise JournalProblem("an attempt that was just written is not there")
        return found

    def forget_claim(self, job_id: str, number: int) -> None:
        """The controller gave the job to nobody or to another attempt: the intent is void."""
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM attempts WHERE job_id = ? AND attempt = ? AND step = ?",
                (job_id, number, Step.ACCEPT),
            )

    def accepted(self, job_id: str, asked: int, lease: Accepted, event: Event) -> None:
        """The claim was granted; the procedure starts. Raises NotIntended when there is no such intent."""
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE attempts SET attempt = ?, token = ?, lease_s = ?, boot_id = ?, step = ?, "
                "facts = json_patch(facts, ?) WHERE job_id = ? AND attempt = ? AND step = ?",
                (
                    lease.number,
                    lease.token,
                    lease.seconds,
                    clock.boot_id(),
                    Step.VERIFY,
                    json.dumps(lease.facts),
                    job_id,
                    asked,
                    Step.ACCEPT,
                ),
            )
            if changed.rowcount != 1:
                raise NotIntended(job_id)
            outbox.enqueue(connection, event)

    def advance(
        self,
        attempt: Attempt,
        step: Step,
        *,
        facts: dict[str, Any] | None = None,
        outcome: Outcome | None = None,
        event: Event | None = None,
    ) -> None:
        """Move an attempt to the next step, with what the finished one found and the event that tells it."""
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT facts FROM attempts WHERE job_id = ? AND attempt = ?", attempt.key
            ).fetchone()
            merged = json.loads(row[0]) | (facts or {})
            connection.execute(
                "UPDATE attempts SET step = ?, facts = ? WHERE job_id = ? AND attempt = ?",
                (step, json.dumps(merged), *attempt.key),
            )
            if outcome is not None:
                connection.execute(
                    "UPDATE attempts SET outcome = ? WHERE job_id = ? AND attempt = ?",
                    (json.dumps(asdict(outcome)), *attempt.key),
                )
            if event is not None:
                outbox.enqueue(connection, event)

    def wish_cancel(self, job_id: str, number: int, reason: Reason) -> None:
        """Somebody wants this attempt to stop; the first wish counts."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET cancel = ? WHERE job_id = ? AND attempt = ? AND cancel IS NULL",
                (reason, job_id, number),
            )

    def supersede(self, job_id: str, number: int) -> None:
        """A newer attempt of the job exists elsewhere: this one publishes and tells nothing any more."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET superseded = 1 WHERE job_id = ? AND attempt = ?", (job_id, number)
            )
            outbox.refuse(connection, job_id, number)

    def set_aside(self, job_id: str, number: int) -> None:
        """Events of this attempt that nobody will take stay here, unsent."""
        with self.transaction() as connection:
            outbox.refuse(connection, job_id, number)

    def is_told(self, job_id: str) -> bool:
        """Whether the controller has all events of a job that are meant for it."""
        return outbox.waiting_for(self._connection(), job_id) == 0

    # --- approvals ---

    def highest_serial(self, project: str) -> int:
        """The highest approval serial that was ever accepted for a project; 0 before the first."""
        row = (
            self._connection()
            .execute("SELECT serial FROM approvals WHERE project = ?", (project,))
            .fetchone()
        )
        return 0 if row is None else int(row[0])

    def accept_approval(self, project: str, serial: int, digest: str) -> None:
        """Keep the serial and sha256 of an approval before anything is fetched under it."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO approvals (project, serial, digest) VALUES (?, ?, ?) "
                "ON CONFLICT (project) DO UPDATE SET serial = excluded.serial, digest = excluded.digest "
                "WHERE excluded.serial >= approvals.serial",
                (project, serial, digest),
            )

    # --- for the operator ---

    def note(
        self, reason: str, detail: str, message: str, *, job_id: str | None = None, attempt: int | None = None
    ) -> None:
        """Keep what the outside must not hear, for the site's operator: the newest 10,000, 16 KiB of each."""
        with self.transaction() as connection:
            noted = connection.execute(
                "INSERT INTO incidents (second, job_id, attempt, reason, detail, message) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (clock.now(), job_id, attempt, reason, detail, shortened(message)),
            )
            oldest = (noted.lastrowid or 0) - MOST_INCIDENTS + 1
            connection.execute("DELETE FROM incidents WHERE number < ?", (oldest,))

    def count_ended(self, reasons: Collection[Reason]) -> int:
        """How many jobs have an attempt that ended for one of these reasons."""
        query = (
            "SELECT DISTINCT job_id FROM attempts "
            "WHERE json_extract(outcome, '$.reason') IN (SELECT value FROM json_each(?))"
        )
        return len(self._connection().execute(query, (json.dumps(sorted(reasons)),)).fetchall())

    def incidents(self, limit: int) -> list[tuple[int, str | None, int | None, str, str, str]]:
        """Newest first: second, job id, attempt, reason, detail, message."""
        query = (
            "SELECT second, job_id, attempt, reason, detail, message FROM incidents "
            "ORDER BY number DESC LIMIT ?"
        )
        return self._connection().execute(query, (limit,)).fetchall()


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    # Not executescript, which would commit the transaction that it is called in.
    for statement in statements.split(";\n"):
        if statement.strip():
            connection.execute(statement)
