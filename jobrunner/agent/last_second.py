"""The newest second that the journal knows: a clock that stands far behind it has jumped (threats.md 7)."""

import sqlite3
from typing import Final

SCHEMA: Final = """
CREATE TABLE last_second (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    second INTEGER NOT NULL
) STRICT
"""


def find(connection: sqlite3.Connection) -> int | None:
    """The second (UTC) that was kept last; None before the first."""
    row = connection.execute("SELECT second FROM last_second").fetchone()
    return None if row is None else int(row[0])


def keep(connection: sqlite3.Connection, second: int) -> None:
    """Keep this second, whether it is newer or older than the last one."""
    connection.execute(
        "INSERT INTO last_second (one, second) VALUES (1, ?) "
        "ON CONFLICT (one) DO UPDATE SET second = excluded.second",
        (second,),
    )
