"""Tables as files: csv, csv.gz or Arrow by the suffix, whole or not there at all.

A csv looks like those that the data centre's sqlrunner writes: UTF-8, a comma, quotes only where they are
needed, "\\n" at the end of a line, nothing for a missing value, true and false, dates as in ISO 8601.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from jobrunner.dummy_data.arrow_file import write_arrow
from jobrunner.dummy_data.schema import Table, Value
from jobrunner.dummy_data.stored_gzip import StoredGzip
from jobrunner.dummy_data.tables import Block

SUFFIXES: Final = (".csv", ".csv.gz", ".arrow")


class BadSuffix(Exception):
    """The name of the file does not say a kind of file that can be written."""


def write_table(table: Table, blocks: Iterable[Block], path: Path) -> None:
    """Write a table to a file, whose folders are made. Raises BadSuffix, ArrowMissing, OSError."""
    if not has_known_suffix(path):
        raise BadSuffix(f"{path} must end in .csv, .csv.gz or .arrow; name it so.")
    with _whole_file(path) as file:
        if path.name.endswith(".arrow"):
            write_arrow(table, blocks, file)
        elif path.name.endswith(".gz"):
            with StoredGzip(file) as packed:
                write_csv(table, blocks, packed)
        else:
            write_csv(table, blocks, file)


def has_known_suffix(path: Path) -> bool:
    """Whether the name ends in a suffix that can be written, and is more than that."""
    return path.name.endswith(SUFFIXES) and path.name not in SUFFIXES


def write_csv(table: Table, blocks: Iterable[Block], file: BinaryIO | StoredGzip) -> None:
    """Write header and rows as csv."""
    file.write(_lines([[column.name for column in table.columns]]))
    for block in blocks:
        file.write(_lines(zip(*([_printed(value) for value in column] for column in block), strict=True)))


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def _printed(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file under another name beside `path`, renamed at the end; removed if something goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
