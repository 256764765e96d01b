"""A SQLite file, opened so that nothing can be written, attached or loaded.

SQLite gives each value a type of its own: a column declared INTEGER may hold text. A csv shows each value
as it is. Arrow wants one type for a column, see sqlite_types.py.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlrunner.database import BATCH_ROWS, Query, Row, check_names, not_accepted, stopped
from sqlrunner.problems import Problem
from sqlrunner.query import SEVERAL

# What a statement may do, asked for each part of it while it is compiled.
_ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


@contextmanager
def open_sqlite(place: Path, sql: str, sql_file: Path) -> Iterator[Query]:
    """The query on the database file `place`. Raises Problem."""
    # Immutable: the file lies on a read-only mount, where SQLite could make neither lock nor journal.
    address = f"{place.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        connection.set_authorizer(_authorise)
        _understand(connection, sql, sql_file)
        yield _SqliteQuery(connection, sql, sql_file)
    finally:
        connection.close()


def _authorise(action: int, *_about: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _understand(connection: sqlite3.Connection, sql: str, sql_file: Path) -> None:
    """Compile the query without reading a row."""
    try:
        connection.execute(f"EXPLAIN {sql}").close()
    # Before Python 3.12 a second statement is a Warning, which is no Error.
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "one statement at a time" in str(error):
            raise Problem(f"The SQL file {sql_file} {SEVERAL}") from error
        raise not_accepted(sql_file, str(error)) from error


@dataclass(frozen=True, slots=True)
class _SqliteQuery:
    connection: sqlite3.Connection
    sql: str
    sql_file: Path

    def rows(self) -> tuple[tuple[str, ...], Iterator[list[Row]]]:
        try:
            cursor = self.connection.execute(self.sql)
        except sqlite3.Error as error:
            raise stopped(self.sql_file, error) from error
        columns = tuple(entry[0] for entry in cursor.description)
        check_names(columns)
        return columns, self._batches(cursor)

    def record_batches(self) -> tuple[Any, Iterator[Any]]:
        from sqlrunner.sqlite_types import record_batches, schema

        columns, batches = self.rows()
        found = schema(columns, batches)
        return found, record_batches(found, self.rows()[1])

    def _batches(self, cursor: sqlite3.Cursor) -> Iterator[list[Row]]:
        try:
            while batch := cursor.fetchmany(BATCH_ROWS):
                yield batch
        except sqlite3.Error as error:
            raise stopped(self.sql_file, error) from error
