"""A migration step that lets the database itself refuse changes to rows that are only ever added."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def append_only(table: str) -> migrations.RunPython:
    """Refuse every UPDATE and DELETE on `table`, whoever asks."""

    def protect(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor != "sqlite":
            raise NotImplementedError("append-only triggers are written for SQLite")
        for verb in ("UPDATE", "DELETE"):
            name = editor.quote_name(f"{table}_no_{verb.lower()}")
            editor.execute(
                f"CREATE TRIGGER {name} BEFORE {verb} ON {editor.quote_name(table)} "
                "BEGIN SELECT RAISE(ABORT, 'rows of this table are only ever added'); END"
            )

    return migrations.RunPython(protect)
