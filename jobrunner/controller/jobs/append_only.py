"""Migration steps by which the database itself keeps promises about rows that are only ever added."""

from collections.abc import Iterable
from typing import Final

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_VERBS: Final = ("UPDATE", "DELETE")
_REFUSAL: Final = "rows of this table are only ever added"
# Any number will do, as long as nothing else in this database locks it.
_ORDER_LOCK: Final = 6_962_001


def append_only(table: str) -> migrations.RunPython:
    """Refuse every UPDATE and DELETE on `table`, and on PostgreSQL every TRUNCATE, whoever asks."""

    def protect(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            for verb in _VERBS:
                editor.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
                )
            return
        editor.execute(
            f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END$$"
        )
        for verb in (*_VERBS, "TRUNCATE"):
            editor.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"
            )

    def unprotect(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            _drop_triggers(editor, table, _VERBS)
            return
        _drop_triggers(editor, table, (*_VERBS, "TRUNCATE"))
        editor.execute(f"DROP FUNCTION {table}_refuse()")

    return migrations.RunPython(protect, unprotect)


def in_commit_order(table: str) -> migrations.RunPython:
    """Let keys of `table` be given out in the order in which their transactions commit.

    PostgreSQL takes a key from a sequence when a row is written, so that a later key may be visible before
    an earlier one, and a reader who remembers the last key would miss a row. Whoever adds rows therefore
    waits until all others who did have committed. SQLite has one writer at a time anyway.
    """

    def protect(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            return
        editor.execute(
            f"CREATE FUNCTION {table}_wait() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN PERFORM pg_advisory_xact_lock({_ORDER_LOCK}); RETURN NULL; END$$"
        )
        editor.execute(
            f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_wait()"
        )

    def unprotect(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            return
        editor.execute(f"DROP TRIGGER {table}_in_order ON {table}")
        editor.execute(f"DROP FUNCTION {table}_wait()")

    return migrations.RunPython(protect, unprotect)


def _drop_triggers(editor: BaseDatabaseSchemaEditor, table: str, verbs: Iterable[str]) -> None:
    of_table = "" if editor.connection.vendor == "sqlite" else f" ON {table}"
    for verb in verbs:
        editor.execute(f"DROP TRIGGER {table}_no_{verb.lower()}{of_table}")
