"""One Arrow type for each column of a SQLite query.

SQLite has no types for columns, and the first rows may say nothing: a date of death is NULL for most. So
the query runs twice, first to see every value's type and then to write. The file on the read-only mount
does not change in between.

    only integers            int64
    integers and reals       float64
    only text                string     (also dates and times, which are text in SQLite)
    only blobs               binary
    nothing but NULL         null
    any other mixture        refused: CAST says which type is meant
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from sqlrunner.database import Row
from sqlrunner.problems import Problem

_ARROW: Final = {
    frozenset[type](): pa.null(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
    frozenset({bytes}): pa.binary(),
}


def schema(columns: Sequence[str], batches: Iterable[list[Row]]) -> Any:
    """The schema that fits every row of `batches`. Raises Problem."""
    kinds: list[set[type]] = [set() for _ in columns]
    for batch in batches:
        for seen, values in zip(kinds, zip(*batch, strict=True), strict=True):
            seen.update(map(type, values))
    fields = []
    for name, seen in zip(columns, kinds, strict=True):
        chosen = _ARROW.get(frozenset(seen - {type(None)}))
        if chosen is None:
            raise Problem(
                f"Column {name} has values of different types, which SQLite allows and arrow does not. "
                "Write CAST(... AS TEXT) or the like in the query."
            )
        fields.append(pa.field(name, chosen))
    return pa.schema(fields)


def record_batches(found: Any, batches: Iterable[list[Row]]) -> Iterator[Any]:
    """The rows as record batches of the schema `found`. Raises Problem."""
    for batch in batches:
        arrays = []
        for field, values in zip(found, zip(*batch, strict=True), strict=True):
            try:
                arrays.append(pa.array(values, type=field.type))
            except (pa.ArrowException, OverflowError) as error:
                raise Problem(
                    f"Column {field.name} has a value that does not fit the type {field.type}. "
                    "Write CAST(... AS TEXT) or the like in the query."
                ) from error
        yield pa.record_batch(arrays, schema=found)
