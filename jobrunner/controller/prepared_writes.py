"""Changes of rows and new rows, put together once by Django as `prepared` does it for queries.

Each value is converted by the field in which it is stored, as Django converts it. Errors are those of the
database; as in Django, the transaction around cannot go on after one.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.sql import InsertQuery, UpdateQuery

from jobrunner.controller.prepared import Given, Statement, are_short, flattened, sizes_of, stand_ins

# Each number of rows has a text of its own. So many rows of any table of ours fit one statement of SQLite.
_ROWS_AT_ONCE: Final = 32


class PreparedUpdate:
    """`make` gets what that of `Prepared` gets, and returns the rows to change, named by their own columns.

    `always` is set in every run. Safe to use from several threads.
    """

    def __init__(self, make: Callable[..., QuerySet[Any, Any]], **always: Expression) -> None:
        self._make = make
        self._always = always
        self._made: dict[tuple[str, tuple[int, ...], tuple[str, ...]], Statement | None] = {}

    def run(self, *values: Any, **changes: Any) -> int:
        """Set these fields, a relation by its key, in the rows that the values name; returns their number."""
        sizes = sizes_of(values)
        if not are_short(sizes):
            return self._make(*values).update(**self._always, **changes)
        connection = connections[DEFAULT_DB_ALIAS]
        key = (connection.vendor, sizes, tuple(changes))
        if key not in self._made:
            self._made[key] = self._put_together(connection, values, tuple(changes))
        made = self._made[key]
        if made is None:
            return 0
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), connection.cursor() as cursor:
            made.execute(cursor, (*flattened(values), *changes.values()), connection)
            return int(cursor.rowcount)

    def _put_together(
        self, connection: BaseDatabaseWrapper, values: Sequence[Any], names: Sequence[str]
    ) -> Statement | None:
        found = self._make(*stand_ins(values))
        first = len(flattened(values))
        changes = {name: Given(number, _field(found.model, name)) for number, name in enumerate(names, first)}
        query: Any = found.query.chain(UpdateQuery)
        query.add_update_values(self._always | changes)
        try:
            sql, parameters = query.get_compiler(connection=connection).as_sql()
        except EmptyResultSet:
            return None
        return Statement(sql, tuple(parameters))


class PreparedInsert:
    """New rows of a table: the fields of these names, a relation by its key, and defaults for all others.

    A field whose default is made anew for each row must be named, since it would be made once. Safe to use
    from several threads.
    """

    def __init__(self, model: type[Model], *names: str) -> None:
        self._model = model
        self._names = names
        self._made: dict[tuple[str, int], Statement] = {}

    def add(self, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Store the rows and return their keys, in the same order. Call in a transaction."""
        connection = connections[DEFAULT_DB_ALIAS]
        keys: list[int] = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            key = (connection.vendor, len(some))
            if key not in self._made:
                self._made[key] = self._put_together(connection, len(some))
            with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), connection.cursor() as cursor:
                self._made[key].execute(cursor, flattened(some), connection)
                keys += [row[0] for row in cursor.fetchall()]
        return keys

    def _put_together(self, connection: BaseDatabaseWrapper, count: int) -> Statement:
        meta = self._model._meta
        numbers = iter(range(count * len(self._names)))
        rows = [
            self._model(**{name: Given(next(numbers), _field(self._model, name)) for name in self._names})
            for _ in range(count)
        ]
        query = InsertQuery(self._model)
        query.insert_values([field for field in meta.concrete_fields if field is not meta.pk], rows)
        compiler: Any = query.get_compiler(connection=connection)
        compiler.returning_fields = [meta.pk]
        ((sql, parameters),) = compiler.as_sql()
        return Statement(sql, tuple(parameters))


def _field(model: type[Model], name: str) -> "Field[Any, Any]":
    field = model._meta.get_field(name)
    if not isinstance(field, Field):
        raise TypeError(f"{name} is no column")
    return field
