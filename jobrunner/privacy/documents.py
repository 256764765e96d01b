"""Our JSON documents as text: keys sorted, UTF-8, one line for each entry of a list or mapping at the top.

A run may have thousands of outputs. The standard library indents in Python, which takes longer than all
else that is done for them; a line for each entry can be read and compared as well.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

_compact: Final = json.JSONEncoder(sort_keys=True).encode


def dump(content: Mapping[str, Any]) -> bytes:
    """The bytes of a document. Raises TypeError for what JSON does not know."""
    lines = (f" {_compact(key)}: {_value(content[key])}" for key in sorted(content))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")


def flat(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as they are: `asdict` copies each of them, however deep."""
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        entries = (f"  {_compact(key)}: {_compact(value[key])}" for key in sorted(value))
        return "{\n" + ",\n".join(entries) + "\n }"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + ",\n".join(f"  {_compact(entry)}" for entry in value) + "\n ]"
    return _compact(value)
