"""A schema of names and types only, as the text of a schema file."""

import json
import re
from typing import Final

from jobrunner.dummy_data.schema import Schema

# Not what YAML reads as something else than a text, in version 1.1 or 1.2.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_TEXT: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def names_and_types(schema: Schema, comments: tuple[str, ...] = ()) -> str:
    """The schema file: the name of each table, the name and the type of each column, and nothing else."""
    lines = [*(f"# {comment}" for comment in comments), "version: 1", "tables:"]
    for table in schema.tables:
        lines += [f"  {_key(table.name)}:", "    columns:"]
        lines += [f"      {_key(column.name)}: {column.type}" for column in table.columns]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    """A name as a YAML key, in quotes where it must be."""
    if _PLAIN.fullmatch(name) and name.lower() not in _NOT_TEXT:
        return name
    return '"' + "".join(map(_escaped, name)) + '"'


def _escaped(char: str) -> str:
    # JSON writes two escapes for a character beyond U+FFFF, which YAML does not join.
    return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else json.dumps(char)[1:-1]
