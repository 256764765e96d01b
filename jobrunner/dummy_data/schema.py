"""What a schema says: tables, their columns, and how values are made up. All values are immutable."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, get_args

Type = Literal["int", "float", "bool", "str", "category", "date", "datetime", "other"]
Value = int | float | bool | str | date | datetime | None

TYPES: Final[tuple[Type, ...]] = get_args(Type)

#: Datetimes have no time zone, as in most databases. They are counted from here.
FIRST_SECOND: Final = datetime.fromisoformat("0001-01-01T00:00:00")

MOST_ROWS: Final = 10_000_000
MOST_TIMES: Final = 1000
MOST_LETTERS: Final = 64
MOST_DECIMALS: Final = 9
MOST_DAYS: Final = 36_500
LARGEST_INT: Final = 2**63 - 1
SMALLEST_INT: Final = -(2**63)
LARGEST_FLOAT: Final = 10**15


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of another table whose values a column takes."""

    table: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. What does not belong to its type has its default and means nothing.

    `low` and `high` are the least and greatest value: of an int itself; of a float a whole number of
    `decimals` (12.5 with two decimals is 1250); of a date days, of a datetime seconds since 0001-01-01.
    `missing` is the share of rows without a value, `share` that of true. `weights` are as many as `values`.
    `length` counts letters or digits after the `prefix` of a str.
    """

    name: str
    type: Type
    missing: float = 0.0
    unique: bool = False
    low: int = 0
    high: int = 0
    decimals: int = 3
    share: float = 0.5
    values: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    length: int = 8
    prefix: str = ""
    refers_to: Reference | None = None
    after: str | None = None
    days: int = 365


@dataclass(frozen=True, slots=True)
class Table:
    """A table, which has `times` as many rows as are asked for, rounded down."""

    name: str
    columns: tuple[Column, ...]
    times: float = 1.0

    def rows(self, asked: int) -> int:
        """How many rows it has when `asked` are asked for."""
        return int(asked * Decimal(repr(self.times)))

    def column(self, name: str) -> Column:
        """The column of this name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables that belong together. No two have one name."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """The table of this name. Raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)
