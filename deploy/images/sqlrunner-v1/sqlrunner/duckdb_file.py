"""A DuckDB file, opened so that nothing can be written and no other file, network or extension reached."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from sqlrunner.database import BATCH_ROWS, Query, Row, check_names, not_accepted, stopped
from sqlrunner.problems import Problem
from sqlrunner.query import SEVERAL

# Of what this container may use. The temporary files lie in memory too, beside Python and the rows on their
# way out.
_MEMORY: Final = "50%"


@contextmanager
def open_duckdb(place: Path, sql: str, sql_file: Path) -> Iterator[Query]:
    """The query on the database file `place`. Raises Problem."""
    try:
        connection = duckdb.connect(str(place), read_only=True, config=_config())
    except duckdb.Error as error:
        raise Problem(
            "DuckDB cannot open the database file. Perhaps another version wrote it; "
            "ask the admins of the data centre."
        ) from error
    try:
        _understand(connection, sql, sql_file)
        yield _DuckdbQuery(connection, sql, sql_file)
    finally:
        connection.close()


def _config() -> dict[str, Any]:
    settings: dict[str, Any] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        # Else a query could name a variable of this program as if it were a table.
        "python_enable_replacements": "false",
        "temp_directory": str(Path(tempfile.gettempdir()) / "sqlrunner"),
        "memory_limit": _MEMORY,
    }
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isascii() and threads.isdecimal() and int(threads) > 0:
        settings["threads"] = threads
    settings["lock_configuration"] = "true"
    return settings


def _understand(connection: duckdb.DuckDBPyConnection, sql: str, sql_file: Path) -> None:
    """Parse and plan the query without reading a row."""
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1:
            raise Problem(f"The SQL file {sql_file} {SEVERAL}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise Problem(f"The SQL file {sql_file} must hold a query that only reads.")
        connection.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error as error:
        raise not_accepted(sql_file, str(error)) from error


@dataclass(frozen=True, slots=True)
class _DuckdbQuery:
    connection: duckdb.DuckDBPyConnection
    sql: str
    sql_file: Path

    def rows(self) -> tuple[tuple[str, ...], Iterator[list[Row]]]:
        try:
            self.connection.execute(self.sql)
        except duckdb.Error as error:
            raise stopped(self.sql_file, error) from error
        columns = tuple(str(entry[0]) for entry in self.connection.description or ())
        check_names(columns)
        return columns, self._batches()

    def record_batches(self) -> tuple[Any, Iterator[Any]]:
        try:
            reader = self.connection.sql(self.sql).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            raise stopped(self.sql_file, error) from error
        check_names(reader.schema.names)
        return reader.schema, self._record_batches(reader)

    def _batches(self) -> Iterator[list[Row]]:
        try:
            while batch := self.connection.fetchmany(BATCH_ROWS):
                yield batch
        except duckdb.Error as error:
            raise stopped(self.sql_file, error) from error

    def _record_batches(self, reader: Any) -> Iterator[Any]:
        import pyarrow as pa

        try:
            yield from reader
        # On its way through Arrow the error of the database becomes one of these.
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise stopped(self.sql_file, error) from error
