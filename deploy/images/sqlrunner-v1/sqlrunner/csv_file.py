"""Rows as csv, perhaps compressed. The same rows always give the same bytes.

UTF-8, a comma between values, quotes only where they are needed, "\\n" at the end of a line. NULL and the
empty text are both nothing. Truth values are true and false, dates and times as in ISO 8601.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

from sqlrunner.database import Row
from sqlrunner.output import Kind
from sqlrunner.problems import Problem

# zlib's own choice. The steps beyond it take long and gain little.
_COMPRESSION: Final = 6
_PRINTABLE: Final = frozenset({type(None), bool, int, float, str, Decimal, date, datetime, time, UUID})


def write_csv(file: BinaryIO, kind: Kind, columns: Sequence[str], batches: Iterable[list[Row]]) -> None:
    """Write a header and all rows. Raises Problem when a value has no form in a csv."""
    with compressed(file, kind) as bytes_out:
        text = io.TextIOWrapper(bytes_out, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for batch in batches:
            writer.writerows(_printable(columns, batch))
        text.flush()
        # The file is closed by whoever opened it.
        text.detach()


@contextmanager
def compressed(file: BinaryIO, kind: Kind) -> Iterator[BinaryIO]:
    """`file` itself, or what compresses into it. No name and no time get into the result."""
    if kind is not Kind.CSV_GZ:
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as packed:
        # Not one by its class, but one in all that is done with it here.
        yield cast(BinaryIO, packed)


def _printable(columns: Sequence[str], batch: list[Row]) -> Iterable[Row]:
    kinds: set[type] = set()
    for name, values in zip(columns, zip(*batch, strict=True), strict=True):
        found = set(map(type, values))
        if not found <= _PRINTABLE:
            raise Problem(f"Column {name} has values that a csv cannot hold. CAST it to text, or use arrow.")
        kinds |= found
    if bool not in kinds:
        return batch
    return [tuple(_word(value) for value in row) for row in batch]


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
