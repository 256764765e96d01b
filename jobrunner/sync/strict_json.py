"""JSON as the walls want it: bounded, without doubt about what it says (threats.md P06).

Python's parser takes duplicate keys, NaN and any depth; two readers could then see two different messages.
"""

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 16
_MAX_INTEGER: Final = 2**53 - 1


class NotStrictJson(ValueError):
    """The bytes are not JSON that both sides surely read alike. The text says why, without quoting it."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("a key is given twice")
    return found


def _integer(text: str) -> int:
    if len(text) > 17:
        raise NotStrictJson("a number is too large")
    value = int(text)
    if abs(value) > _MAX_INTEGER:
        raise NotStrictJson("a number is too large")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrictJson("a number is not finite")
    return value


def _constant(_name: str) -> Any:
    raise NotStrictJson("NaN and Infinity are not JSON")


def _check_depth(raw: bytes, max_depth: int) -> None:
    """Count brackets outside strings before parsing, so that hostile depth never reaches the parser."""
    depth = 0
    in_string = False
    escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            if depth > max_depth:
                raise NotStrictJson(f"nested deeper than {max_depth}")
        elif byte in (0x7D, 0x5D):
            depth -= 1


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise NotStrictJson("a text holds a NUL")
        # Half of a surrogate pair is no text: it has no UTF-8, and readers differ on what it is.
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)


def parse(raw: bytes, *, limit: int, max_depth: int = MAX_DEPTH) -> Any:
    """The value of `raw`, at most `limit` bytes of UTF-8 JSON.

    Raises NotStrictJson for anything too long or deep, duplicate keys, NaN, infinities, integers
    beyond 2**53 - 1, half surrogate pairs and NULs, which some databases and languages end a text at.
    """
    if len(raw) > limit:
        raise NotStrictJson(f"longer than {limit} bytes")
    _check_depth(raw, max_depth)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if b"\\u" in raw:
            _check_text(value)
        return value
    except NotStrictJson:
        raise
    except (ValueError, RecursionError) as error:
        raise NotStrictJson("not JSON in UTF-8") from error
