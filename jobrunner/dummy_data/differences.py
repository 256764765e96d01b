"""Where a file of dummy data is not what its schema declares. Only warnings: dummy data are nobody's."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from jobrunner.dummy_data.reading import read_schema
from jobrunner.dummy_data.schema import Column, Table
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.text import MAX_BYTES
from jobrunner.pipeline.wording import listing, quote

#: Rows that are looked at.
SAMPLE_ROWS: Final = 1000

#: Columns of one list that are named.
MOST_LISTED: Final = 40

_INT: Final = re.compile(r"[+-]?[0-9]+")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLS: Final = frozenset({"true", "false", "True", "False", "TRUE", "FALSE", "1", "0"})


def differences(table: Table, header: Sequence[str], sample: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """What is not as the table declares, one sentence each: columns, their order, types and categories.

    Where the columns differ, the last sentence about them lists both.

    `sample` are rows as a csv has them, of which the first 1,000 are looked at; an empty text is a
    missing value. A column is named once, with its first value that does not fit.
    """
    declared = [column.name for column in table.columns]
    missing = [name for name in declared if name not in header]
    beyond = [name for name in header if name not in declared]
    suggestions = Suggestions(missing)
    found = [f"The column {quote(name)} is declared, but the dummy data do not have it." for name in missing]
    found += [
        f"The dummy data have the column {quote(name)}, which is not declared.{suggestions.hint(name)}"
        for name in beyond
    ]
    if len(set(header)) < len(header):
        found.append("Two columns of the dummy data have one name.")
    elif not missing and not beyond and list(header) != declared:
        found.append("The columns stand in another order than declared.")
    if found:
        have = listing(header, MOST_LISTED) if header else "none"
        found.append(f"Its columns are {have}; declared are {listing(declared, MOST_LISTED)}.")
    by_name = {column.name: column for column in table.columns}
    watched = [(index, by_name[name]) for index, name in enumerate(header) if name in by_name]
    return (*found, *_unfit(watched, len(header), islice(sample, SAMPLE_ROWS)))


def warnings_for(dummy: Path, root: Path = Path()) -> tuple[str, ...]:
    """What is not as declared in a dummy data file; nothing where no schema lies beside it.

    `dummy` is relative to the folder `root`, and so are the names in the warnings. What declares
    `dummy/cohort.csv` is the table `cohort` of `dummy/cohort.schema.yaml`, or else of `dummy/schema.yaml`.
    Never raises: what cannot be read is a warning too. Arrow files are not looked at.
    """
    stem = dummy.name.removesuffix(".gz").removesuffix(".csv")
    if dummy.name == stem:
        return ()
    own, shared = dummy.with_name(f"{stem}.schema.yaml"), dummy.with_name("schema.yaml")
    if (root / own).is_file():
        return _against(root, own, dummy, stem)
    return _against(root, shared, dummy, stem) if (root / shared).is_file() else ()


def _against(root: Path, place: Path, dummy: Path, stem: str) -> tuple[str, ...]:
    try:
        with (root / place).open("rb") as file:
            schema = read_schema(file.read(MAX_BYTES + 1)).schema
        if schema is None:
            return (f"{place} has mistakes; `jobrunner dummy {place}` tells them.",)
        table = next((table for table in schema.tables if table.name == stem), None)
        if table is None:
            # The file of many tables need not declare this one.
            return ()
        with (root / dummy).open("rb") as binary:
            plain = gzip.GzipFile(fileobj=binary) if dummy.name.endswith(".gz") else binary
            rows = csv.reader(io.TextIOWrapper(plain, encoding="utf-8-sig", newline=""))
            found = differences(table, next(rows, []), rows)
    except OSError as error:
        return (f"{dummy} could not be compared with {place}: {error.strerror or error}.",)
    except (EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        return (f"{dummy} could not be compared with {place}: {error}.",)
    return tuple(f"{dummy} is not as {place} declares: {sentence}" for sentence in found)


def _unfit(watched: list[tuple[int, Column]], width: int, rows: Iterable[Sequence[str]]) -> list[str]:
    found = []
    for number, row in enumerate(rows, start=1):
        if row and len(row) != width:
            found.append(f"Row {number} has {len(row)} values, but there are {width} columns.")
            break
        wrong = [(index, column) for index, column in watched if row and not _fits(column, row[index])]
        for index, column in wrong:
            what = f"is declared {column.type}" if column.type != "category" else "does not declare"
            value = quote(row[index])
            found.append(
                f"The column {quote(column.name)} {what} {value}, which row {number} has."
                if column.type == "category"
                else f"The column {quote(column.name)} {what}, but row {number} has {value}."
            )
            watched = [entry for entry in watched if entry[0] != index]
    return found


def _fits(column: Column, text: str) -> bool:
    if not text:
        return True
    if column.type == "category":
        return text in column.values
    return _FITS[column.type](text)


def _anything(_text: str) -> bool:
    return True


def _parses(read: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return fits


_FITS: Final[dict[str, Callable[[str], bool]]] = {
    "int": lambda text: _INT.fullmatch(text) is not None,
    "float": lambda text: _FLOAT.fullmatch(text) is not None,
    "bool": _BOOLS.__contains__,
    "str": _anything,
    "date": _parses(date.fromisoformat),
    "datetime": _parses(datetime.fromisoformat),
    "other": _anything,
}
