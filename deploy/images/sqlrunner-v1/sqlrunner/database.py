"""Which database DATABASE_URL names, and what the two kinds have in common."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from sqlrunner.problems import Problem

#: Rows that are in memory at a time.
BATCH_ROWS: Final = 5_000

_URL: Final = re.compile(r"(sqlite|duckdb):///(/.+)", re.DOTALL)

Row = tuple[Any, ...]


class Query(Protocol):
    """A query that the database has understood. Each method runs it anew; their results raise Problem."""

    def rows(self) -> tuple[tuple[str, ...], Iterator[list[Row]]]:
        """Names of the columns, and the rows in lists of at most BATCH_ROWS."""

    def record_batches(self) -> tuple[Any, Iterator[Any]]:
        """An Arrow schema, and the rows as record batches of it."""


def open_query(url: str, sql: str, sql_file: Path) -> AbstractContextManager[Query]:
    """The query `sql` on the database at `url`. `sql_file` is for messages. Raises Problem.

    The address is not repeated in messages: another kind of database may have a password in it.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise Problem(
            "DATABASE_URL must be sqlite:/// or duckdb:/// and then the full path of a file, as in "
            "sqlite:////jobrunner/database. This image reads no other kind of database."
        )
    place = Path(found[2])
    if not place.is_file():
        raise Problem("The file that DATABASE_URL names is not there. Ask the admins of the data centre.")
    # Imported when it is needed: duckdb takes a tenth of a second.
    if found[1] == "sqlite":
        from sqlrunner.sqlite_file import open_sqlite

        return open_sqlite(place, sql, sql_file)
    from sqlrunner.duckdb_file import open_duckdb

    return open_duckdb(place, sql, sql_file)


def check_names(columns: Sequence[str]) -> None:
    """Raises Problem when two columns have one name: readers of the file would lose or rename one."""
    name, times = Counter(columns).most_common(1)[0]
    if times > 1:
        raise Problem(f"{times} columns are called {name}. Give each another name with AS.")


def not_accepted(sql_file: Path, said: str) -> Problem:
    """The database did not understand the query. `said` speaks of the query, since no row was read yet."""
    first = (said.splitlines() or ["no reason given"])[0]
    return Problem(f"The database does not accept {sql_file}: {first.rstrip('.!')}.")


def stopped(sql_file: Path, error: Exception) -> Problem:
    """The query failed while it ran. What the database says then may quote a value, so it is left out."""
    kind = type(error).__name__
    return Problem(
        f"The database stopped {sql_file} while it ran ({kind}). A calculation or a CAST may not fit all "
        "rows; its text is left out, since it could quote one."
    )
