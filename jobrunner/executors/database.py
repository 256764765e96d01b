"""The embedded database file that a database action may read (design.md section 7).

It is one file of SQLite or DuckDB. Many attempts read the same inode at the same time, so nobody may
change it in place: a new release of the data is a new file that is moved over the old one.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

TARGET: Final = "/jobrunner/database"
"""Where a database action finds the file."""

VARIABLE: Final = "DATABASE_URL"
"""The variable that tells a database action where its database is."""

Kind = Literal["sqlite", "duckdb"]

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_HEAD: Final = 20
# SQLite's file format, section 1.3: 2 in one of these bytes means a write-ahead log.
_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_SQLITE_VERSIONS: Final = slice(18, 20)
_SQLITE_WAL: Final = 2
# DuckDB's main header: a checksum of 8 bytes, then the magic word.
_DUCKDB_MAGIC: Final = b"DUCK"
_DUCKDB_MAGIC_AT: Final = slice(8, 12)
# What lies beside a file that somebody writes to, or that was not closed well.
_UNFINISHED: Final = {"sqlite": ("-wal", "-journal"), "duckdb": (".wal",)}


@dataclass(frozen=True, slots=True)
class Database:
    """A file that database actions read. Raises ValueError for another kind or a relative path."""

    kind: Kind
    path: Path

    def __post_init__(self) -> None:
        if self.kind not in _UNFINISHED:
            raise ValueError(f"database kind {self.kind!r} must be sqlite or duckdb")
        if not self.path.is_absolute():
            raise ValueError(f"database path {str(self.path)!r} must be absolute")

    @property
    def target(self) -> str:
        """Where the file is inside the sandbox."""
        return TARGET

    @property
    def url(self) -> str:
        """Value of DATABASE_URL: the kind and an absolute path, as SQLAlchemy writes it."""
        return f"{self.kind}:///{TARGET}"


def fault_of(database: Database, link: Path | None = None) -> str | None:
    """Why the file cannot be handed to jobs, and what to do; None when it can.

    With `link`, a hard link to it, that file is looked at. Raises OSError when it cannot be read.
    """
    place = link or database.path
    info = place.lstat()
    if stat.S_ISLNK(info.st_mode):
        return f"{database.path} is a link; name the file itself"
    if not stat.S_ISREG(info.st_mode):
        return f"{database.path} is no regular file; name one"
    if info.st_uid not in (0, os.geteuid()):
        return f"{database.path} belongs to another user; chown it to root"
    if info.st_mode & _OTHERS_WRITE:
        return f"others can change {database.path}; chmod it to 0444"
    if not info.st_mode & stat.S_IROTH:
        return (
            f"jobs run as users of their own and could not read {database.path}; chmod it to 0444, and keep "
            "people out by its folder, mode 0700"
        )
    for ending in _UNFINISHED[database.kind]:
        if os.path.lexists(f"{database.path}{ending}"):
            return f"{database.path}{ending} lies beside it, so somebody writes to it; close it there first"
    return _fault_of_head(database, place)


def _fault_of_head(database: Database, place: Path) -> str | None:
    with place.open("rb") as file:
        head = file.read(_HEAD)
    if database.kind == "duckdb":
        known = head[_DUCKDB_MAGIC_AT] == _DUCKDB_MAGIC
        return None if known else f"{database.path} is no DuckDB file; name one, or change the kind"
    if not head.startswith(_SQLITE_MAGIC):
        return f"{database.path} is no SQLite file; name one, or change the kind"
    if _SQLITE_WAL in head[_SQLITE_VERSIONS]:
        return (
            f"{database.path} keeps a write-ahead log, which a read-only file cannot have; "
            "run `PRAGMA journal_mode=DELETE` on it"
        )
    return None
