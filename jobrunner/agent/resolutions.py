"""Which commit the tag of a reusable action stands for in a request: the first answer, kept in the journal.

threats.md section 5 item 13.
"""

import sqlite3
from typing import Final

SCHEMA: Final = """
CREATE TABLE resolutions (
    request_id TEXT NOT NULL,
    repo TEXT NOT NULL,
    tag TEXT NOT NULL,
    git_commit TEXT NOT NULL,
    PRIMARY KEY (request_id, repo, tag)
) STRICT
"""


def find(connection: sqlite3.Connection, request_id: str, repo: str, tag: str) -> str | None:
    """The commit that was kept; None before the first use of the tag in this request."""
    row = connection.execute(
        "SELECT git_commit FROM resolutions WHERE request_id = ? AND repo = ? AND tag = ?",
        (request_id, repo, tag),
    ).fetchone()
    return None if row is None else str(row[0])


def keep(connection: sqlite3.Connection, request_id: str, repo: str, tag: str, commit: str) -> str:
    """Keep what the tag was found to name; returns what counts, which is what was kept first."""
    first = find(connection, request_id, repo, tag)
    if first is not None:
        return first
    connection.execute(
        "INSERT INTO resolutions (request_id, repo, tag, git_commit) VALUES (?, ?, ?, ?)",
        (request_id, repo, tag, commit),
    )
    return commit
