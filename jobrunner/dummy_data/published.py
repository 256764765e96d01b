"""What a site tells of its database: names and types of tables and columns, as somebody declared them.

Only the catalogue of the database is read, never a row, so nothing here can follow from one: no range, no
count, no category, no key. Databases of the same structure give the same bytes, whatever is in them.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from jobrunner.dummy_data.checking import fault_of_name
from jobrunner.dummy_data.schema import Column, Schema, Table, Type
from jobrunner.dummy_data.writing import names_and_types

Kind = Literal["sqlite", "duckdb"]

_COMMENTS: Final = (
    "The tables and columns of a database: names and types, nothing that was worked out from rows.",
    "Written by `jobrunner agent schema`; docs/dummy-data.md says what else a schema can hold.",
)
# The first that is found in a declared type decides, so the order matters.
_TYPES: Final[tuple[tuple[re.Pattern[str], Type], ...]] = (
    (re.compile(r"^ENUM\b|^UUID$"), "str"),
    (re.compile(r"\[|^(STRUCT|MAP|UNION|LIST|INTERVAL|BIT)\b"), "other"),
    (re.compile(r"^(DATETIME|TIMESTAMP)"), "datetime"),
    (re.compile(r"^DATE$"), "date"),
    (re.compile(r"^TIME\b"), "str"),
    (re.compile(r"^BOOL"), "bool"),
    (re.compile(r"INT"), "int"),
    (re.compile(r"CHAR|CLOB|TEXT|STRING"), "str"),
    (re.compile(r"BLOB|BINARY|BYTEA"), "other"),
    (re.compile(r"REAL|FLOA|DOUB|DEC|NUM"), "float"),
)

Catalogue = Iterable[tuple[str, str, str]]
"""Table, column and declared type, columns of one table in their order."""


class CannotTell(Exception):
    """The catalogue cannot be read or published. The text says what to do."""


def published_schema(kind: Kind, path: Path) -> str:
    """The text of a schema file for the database file `path`. Raises CannotTell."""
    catalogue = _sqlite_catalogue(path) if kind == "sqlite" else _duckdb_catalogue(path)
    tables: dict[str, list[Column]] = {}
    for table, column, declared in catalogue:
        for what, name in (("table", table), ("column", column)):
            if fault_of_name(name):
                raise CannotTell(f"the {what} {name!r} cannot be published; rename it, or hide it in a view.")
        tables.setdefault(table, []).append(Column(name=column, type=type_of(declared)))
    if not tables:
        raise CannotTell(f"{path} has no tables; name the database file that studies read.")
    schema = Schema(tuple(Table(name, tuple(tables[name])) for name in sorted(tables)))
    return names_and_types(schema, _COMMENTS)


def type_of(declared: str) -> Type:
    """The type of a schema for one that a database declares, such as `VARCHAR(20)`; "other" if unknown."""
    upper = declared.upper().strip()
    return next((kind for pattern, kind in _TYPES if pattern.search(upper)), "other")


_SQLITE_CATALOGUE: Final = frozenset({"sqlite_master", "pragma_table_xinfo"})
# UPDATE is how SQLite announces the pragma's table to itself; the file is open for reading only.
_ON_CATALOGUE: Final = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE})


@contextmanager
def sqlite_catalogue_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that compiles no statement which reads a row of a table. Raises sqlite3.Error."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as database:
        database.set_authorizer(_authorise)
        yield database


def _authorise(action: int, first: str | None, *_about: str | None) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION):
        return sqlite3.SQLITE_OK
    if action in _ON_CATALOGUE and first in _SQLITE_CATALOGUE:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first == "table_xinfo":
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _sqlite_catalogue(path: Path) -> list[tuple[str, str, str]]:
    statement = (
        "SELECT m.name, c.name, c.type FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c "
        "WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!' AND c.hidden <> 1 "
        "ORDER BY m.name, c.cid"
    )
    try:
        with sqlite_catalogue_only(path) as database:
            return [(table, column, declared) for table, column, declared in database.execute(statement)]
    except sqlite3.Error as error:
        raise CannotTell(f"{path} cannot be read as SQLite: {error}; name the database file.") from error


def _duckdb_catalogue(path: Path) -> list[tuple[str, str, str]]:
    try:
        import duckdb
    except ImportError as error:
        raise CannotTell(
            "a DuckDB file is read with the package duckdb, which is not installed here; "
            "`pip install duckdb`."
        ) from error
    statement = (
        "SELECT CASE schema_name WHEN 'main' THEN table_name ELSE schema_name || '.' || table_name END, "
        "column_name, data_type FROM duckdb_columns() "
        "WHERE NOT internal AND database_name = current_database() "
        "ORDER BY schema_name, table_name, column_index"
    )
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoload_known_extensions": "false",
    }
    try:
        with duckdb.connect(str(path), read_only=True, config=settings) as database:
            return [
                (str(table), str(name), str(kind))
                for table, name, kind in database.execute(statement).fetchall()
            ]
    except duckdb.Error as error:
        raise CannotTell(f"{path} cannot be read as DuckDB: {error}; name the database file.") from error
