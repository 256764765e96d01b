"""`jobrunner dummy`: made-up rows for a researcher's own machine, from a schema."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from jobrunner.dummy_data import Schema

_TABLE: Final = "{table}"
_INVALID: Final = 1
_UNREADABLE: Final = 2


def dummy(
    schema: Annotated[Path, typer.Argument(help="The schema file; docs/dummy-data.md says what it holds.")],
    rows: Annotated[int, typer.Option(min=0, max=10_000_000, help="How many rows each table gets.")] = 100,
    seed: Annotated[
        int, typer.Option(help="Another seed gives other rows; the same seed the same ones.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(help="A .csv, .csv.gz or .arrow file; {table} in it stands for each table's name."),
    ] = None,
    table: Annotated[str | None, typer.Option(help="Make this table only.")] = None,
) -> None:
    """Make up rows of the tables that a schema declares; without --output, print one table as csv."""
    from jobrunner.dummy_data import CannotDraw, blocks
    from jobrunner.dummy_data.arrow_file import ArrowMissing
    from jobrunner.dummy_data.files import BadSuffix, write_csv, write_table

    read = _read(schema)
    wanted = _wanted(read, table, output)
    try:
        if output is None:
            write_csv(read.table(wanted[0]), blocks(read, wanted[0], rows, seed), sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        for name in wanted:
            path = _place(output, name)
            write_table(read.table(name), blocks(read, name, rows, seed), path)
            print(f"Wrote {path} ({read.table(name).rows(rows)} rows).")
    except (CannotDraw, BadSuffix, ArrowMissing) as error:
        raise Stop(str(error)) from error
    except BrokenPipeError:
        # Whoever read the rows has had enough; typer ends quietly.
        raise
    except OSError as error:
        raise Stop(
            f"{error.filename or output} cannot be written: {error.strerror}. Choose another."
        ) from error


def _read(path: Path) -> "Schema":
    """The schema, or all that is wrong with it on standard output, as `jobrunner check` tells it."""
    from jobrunner.dummy_data import read_schema
    from jobrunner.pipeline.text import MAX_BYTES

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Stop(f"{path} cannot be read: {why}. Name a schema file.", _UNREADABLE) from error
    read = read_schema(data)
    for problem in read.problems:
        print(f"{path}:{problem.line}:{problem.column}: error {problem.id}: {problem.message}")
    if read.schema is None:
        raise typer.Exit(_INVALID)
    return read.schema


def _wanted(schema: "Schema", table: str | None, output: Path | None) -> list[str]:
    """Names of the tables to make. Raises Stop unless each has a place."""
    names = [entry.name for entry in schema.tables]
    if table is not None:
        if table not in names:
            raise Stop(f"The schema has no table {table!r}. It has {', '.join(names)}.")
        return [table]
    if len(names) > 1 and (output is None or _TABLE not in str(output)):
        raise Stop(
            f"The schema has several tables: {', '.join(names)}. Name one with --table, or write {_TABLE} "
            "where its name goes, as in --output 'dummy/{table}.csv'."
        )
    return names


def _place(output: Path, table: str) -> Path:
    """The file of a table. Raises Stop when its name would lead to another folder."""
    if _TABLE not in str(output):
        return output
    if "/" in table or "\\" in table or table.startswith("."):
        raise Stop(f"The table {table!r} cannot be a file name. Use --table with a whole --output.")
    return Path(str(output).replace(_TABLE, table))
