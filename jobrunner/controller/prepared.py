"""Queries that Django puts together once, and that from then on only run, with other values each time.

Putting a small query together takes five times as long as running it, and one call of an agent makes twenty.
What runs is what Django made of the query, and the rows are converted as Django converts them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.transaction import TransactionManagementError

M = TypeVar("M", bound=Model)

# A list of values longer than this is not worth a text of its own.
_LONGEST_LIST: Final = 16


class Given(Expression):
    """Stands in a statement for a value that comes when it runs; `stored_in` is the column it goes to."""

    def __init__(self, number: int, stored_in: "Field[Any, Any] | None" = None) -> None:
        super().__init__()
        self.number = number
        self.stored_in = stored_in

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """One parameter: this very object, in whose place the value comes."""
        return "%s", (self,)

    def among(self, values: Sequence[Any], connection: BaseDatabaseWrapper) -> Any:
        """The value in whose place it stands, as the database takes it."""
        value = values[self.number]
        if self.stored_in is not None:
            return self.stored_in.get_db_prep_save(value, connection)
        return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


class Statement(NamedTuple):
    """SQL and its parameters, with Given among them."""

    sql: str
    parameters: tuple[Any, ...]

    def execute(self, cursor: CursorWrapper, values: Sequence[Any], connection: BaseDatabaseWrapper) -> None:
        """Run it with these values."""
        parameters = [p.among(values, connection) if isinstance(p, Given) else p for p in self.parameters]
        cursor.execute(self.sql, parameters)


class _Made(NamedTuple):
    """A statement, and what turns a row into values."""

    statement: Statement
    convert: Callable[[Sequence[Any]], list[tuple[Any, ...]]]
    locks: bool


class Prepared(Generic[M]):
    """`make` gets a stand-in for each value, or a list of them for a tuple, and returns the query.

    What it says must depend on nothing else. Values are str, int, bool and datetime. Safe to use from several
    threads. Errors are those of the database.
    """

    def __init__(self, make: Callable[..., QuerySet[M, Any]]) -> None:
        self._make = make
        self._model: type[M] | None = None
        self._made: dict[tuple[str, tuple[int, ...]], _Made | None] = {}

    def rows(self, *values: Any) -> list[tuple[Any, ...]]:
        """All rows, in the order of the columns that the query names."""
        connection = connections[DEFAULT_DB_ALIAS]
        sizes = sizes_of(values)
        if not are_short(sizes):
            return self._run(connection, self._put_together(connection, values), ())
        key = (connection.vendor, sizes)
        if key not in self._made:
            self._made[key] = self._put_together(connection, stand_ins(values))
        return self._run(connection, self._made[key], flattened(values))

    def all(self, *values: Any) -> list[M]:
        """All objects of a query that names no columns."""
        if self._model is None:
            self._model = self._make(*stand_ins(values)).model
        names = [field.attname for field in self._model._meta.concrete_fields]
        return [self._model.from_db(DEFAULT_DB_ALIAS, names, row) for row in self.rows(*values)]

    def first(self, *values: Any) -> M | None:
        """The first of `all`, or None."""
        return next(iter(self.all(*values)), None)

    def _run(
        self, connection: BaseDatabaseWrapper, made: _Made | None, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        if made is None:
            return []
        if made.locks and connection.get_autocommit():
            # Django says so where it puts a query together, which is once.
            raise TransactionManagementError("rows can be locked in a transaction only")
        with connection.cursor() as cursor:
            made.statement.execute(cursor, values, connection)
            return made.convert(cursor.fetchall())

    def _put_together(self, connection: BaseDatabaseWrapper, values: Sequence[Any]) -> _Made | None:
        compiler = self._make(*values).query.get_compiler(connection=connection)
        try:
            sql, parameters = compiler.as_sql()
        except EmptyResultSet:
            return None
        columns = [column for column, *_ in compiler.select[: compiler.col_count]]
        converters = compiler.get_converters(columns)

        def convert(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
            return (
                [tuple(row) for row in compiler.apply_converters(rows, converters)] if converters else [*rows]
            )

        return _Made(Statement(sql, tuple(parameters)), convert, compiler.query.select_for_update)


def sizes_of(values: Sequence[Any]) -> tuple[int, ...]:
    """The length of each list among the values, -1 for others: all that the text of a query depends on."""
    return tuple(len(value) if isinstance(value, tuple) else -1 for value in values)


def are_short(sizes: tuple[int, ...]) -> bool:
    """Whether a text for lists of these lengths is worth keeping."""
    return max(sizes, default=0) <= _LONGEST_LIST


def stand_ins(values: Sequence[Any]) -> list[Any]:
    """A Given for each value, or a list of them for a tuple, numbered as `flattened` lays the values."""
    numbers = iter(range(10**6))
    return [
        [Given(next(numbers)) for _ in value] if isinstance(value, tuple) else Given(next(numbers))
        for value in values
    ]


def flattened(values: Sequence[Any]) -> tuple[Any, ...]:
    """The values, each of a tuple by itself."""
    return tuple(chain.from_iterable(v if isinstance(v, tuple) else (v,) for v in values))
