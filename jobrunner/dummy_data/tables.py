"""The rows of a table, block by block, so that a table may be larger than the memory.

A value follows from the seed, its table, its column and its row alone: a column that is added or taken out
changes no other one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Final

from jobrunner.dummy_data.draws import BLOCK_ROWS, between, fraction, words
from jobrunner.dummy_data.schema import FIRST_SECOND, Column, Schema, Table, Value

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
# 26 to this power is below 2 to the power of 64.
_LETTERS_A_WORD: Final = 12
_DAY_S: Final = 86_400
_LAST_DAY: Final = date.max.toordinal()

Block = list[list[Value]]


class CannotDraw(Exception):
    """The schema has no room for so many rows. The text says where and what to do."""


def blocks(schema: Schema, table: str, rows: int, seed: int) -> Iterator[Block]:
    """The table as blocks, each a list of columns in the schema's order. Raises CannotDraw before the first.

    `rows` is what was asked for; the table has `times` as many. Raises KeyError for an unknown table.
    """
    chosen = schema.table(table)
    for column in chosen.columns:
        _check_room(schema, chosen, column, rows)
    return _blocks(schema, chosen, rows, seed)


def _blocks(schema: Schema, table: Table, rows: int, seed: int) -> Iterator[Block]:
    total = table.rows(rows)
    for start in range(0, total, BLOCK_ROWS):
        span = range(start, min(start + BLOCK_ROWS, total))
        made: dict[str, list[Value]] = {}
        for column in table.columns:
            source = _Source(seed, table.name, column.name, start // BLOCK_ROWS, len(span))
            base = made[column.after] if column.after is not None else None
            made[column.name] = _column(schema, column, source, span, rows, base)
        yield list(made.values())


class _Source:
    """The numbers for one column of one block."""

    __slots__ = ("_block", "_column", "_count", "_seed", "_table")

    def __init__(self, seed: int, table: str, column: str, block: int, count: int) -> None:
        self._seed = seed
        self._table = table
        self._column = column
        self._block = block
        self._count = count

    def words(self, what: str) -> tuple[int, ...]:
        """One number for each row."""
        return words((self._seed, self._table, self._column, what, self._block), self._count)


def _column(
    schema: Schema, column: Column, source: _Source, span: range, rows: int, base: list[Value] | None
) -> list[Value]:
    if column.refers_to is not None:
        values = _referred(schema, column, source, span, rows)
    elif column.unique:
        values = [_unique(column, index) for index in span]
    elif base is not None:
        values = [
            _later(column, begin, word) for begin, word in zip(base, source.words("value"), strict=True)
        ]
    else:
        values = _MAKERS[column.type](column, source)
    if not column.missing:
        return values
    return [
        None if fraction(word) < column.missing else value
        for value, word in zip(values, source.words("missing"), strict=True)
    ]


def _referred(schema: Schema, column: Column, source: _Source, span: range, rows: int) -> list[Value]:
    """Values of a unique column of another table: at the same row if this is unique too, else at any."""
    reference = column.refers_to
    if reference is None:
        raise ValueError(f"column {column.name} refers to nothing")
    there = schema.table(reference.table)
    target, count = there.column(reference.column), there.rows(rows)
    if count == 0:
        return [None for _ in span]
    if column.unique:
        return [_unique(target, index) for index in span]
    return [_unique(target, between(word, 0, count - 1)) for word in source.words("value")]


def _unique(column: Column, index: int) -> Value:
    if column.type == "int":
        return column.low + index
    return f"{column.prefix}{index + 1:0{column.length}d}"


def _later(column: Column, begin: Value, word: int) -> Value:
    if isinstance(begin, datetime):
        seconds = (begin - FIRST_SECOND) // timedelta(seconds=1) + between(word, 0, column.days * _DAY_S)
        return _second(min(seconds, _LAST_DAY * _DAY_S - 1))
    if isinstance(begin, date):
        return date.fromordinal(min(begin.toordinal() + between(word, 0, column.days), _LAST_DAY))
    return None


def _second(seconds: int) -> datetime:
    return FIRST_SECOND + timedelta(seconds=seconds)


def _ints(column: Column, source: _Source) -> list[Value]:
    return [between(word, column.low, column.high) for word in source.words("value")]


def _floats(column: Column, source: _Source) -> list[Value]:
    # One division of whole numbers, which every machine rounds alike.
    parts = 10**column.decimals
    return [between(word, column.low, column.high) / parts for word in source.words("value")]


def _bools(column: Column, source: _Source) -> list[Value]:
    return [fraction(word) < column.share for word in source.words("value")]


def _texts(column: Column, source: _Source) -> list[Value]:
    made = [column.prefix for _ in source.words("value")]
    for begin in range(0, column.length, _LETTERS_A_WORD):
        count = min(_LETTERS_A_WORD, column.length - begin)
        made = [
            text + _spell(word, count)
            for text, word in zip(made, source.words(f"value{begin}" if begin else "value"), strict=True)
        ]
    return list(made)


def _spell(word: int, count: int) -> str:
    number = between(word, 0, 26**count - 1)
    letters = []
    for _ in range(count):
        number, letter = divmod(number, 26)
        letters.append(_LETTERS[letter])
    return "".join(letters)


def _categories(column: Column, source: _Source) -> list[Value]:
    steps = list(accumulate(column.weights))
    last = len(steps) - 1
    return [
        column.values[min(bisect_right(steps, fraction(word) * steps[-1]), last)]
        for word in source.words("value")
    ]


def _dates(column: Column, source: _Source) -> list[Value]:
    return [date.fromordinal(between(word, column.low, column.high) + 1) for word in source.words("value")]


def _datetimes(column: Column, source: _Source) -> list[Value]:
    return [_second(between(word, column.low, column.high)) for word in source.words("value")]


def _nothing(_column: Column, source: _Source) -> list[Value]:
    return [None for _ in source.words("value")]


_MAKERS: Final[dict[str, Callable[[Column, _Source], list[Value]]]] = {
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "str": _texts,
    "category": _categories,
    "date": _dates,
    "datetime": _datetimes,
    "other": _nothing,
}


def _check_room(schema: Schema, table: Table, column: Column, rows: int) -> None:
    """Raise CannotDraw when unique values run out; of a reference, those that it takes from."""
    if column.refers_to is not None:
        there = schema.table(column.refers_to.table)
        _check_room(schema, there, there.column(column.refers_to.column), rows)
        return
    if not column.unique:
        return
    count = table.rows(rows)
    room = column.high - column.low + 1 if column.type == "int" else 10**column.length - 1
    if count > room:
        setting = "max" if column.type == "int" else "length"
        raise CannotDraw(
            f"column {column.name} of table {table.name} has {room} unique values, but {count} rows are "
            f"asked for; raise its `{setting}`, or ask for fewer rows."
        )
