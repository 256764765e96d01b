"""One file as the rules see it: bytes, kind, text and tables, read once."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobrunner.privacy.disclosure import json_tables, sniff
from jobrunner.privacy.disclosure.rulebook import Limits
from jobrunner.privacy.disclosure.tables import Table, delimited, in_text

_TABULAR = frozenset({"csv", "tsv"})
_PROSE = frozenset({"txt", "log", "md"})
# Marks before and after text in markup; attributes and styles are for other rules.
_BETWEEN_TAGS = re.compile(r">([^<>]+)<")
_FEWEST_LINES = 3


@dataclass(frozen=True, slots=True)
class Content:
    """What was read. `data` is at most the limit plus one byte, `size` the whole size in bytes.

    `text` is None unless the kind is text. `value`: the parsed JSON, None where there is none. `prose`: the
    text in which single values are looked for.
    """

    path: str
    suffix: str
    size: int
    data: bytes
    kind: str
    text: str | None
    prose: str
    value: Any
    is_json: bool
    tables: tuple[Table, ...]

    @property
    def sha256(self) -> str:
        """The hash of `data`: of the whole file, unless it is larger than the limit."""
        return hashlib.sha256(self.data).hexdigest()


def suffix_of(path: str) -> str:
    """The suffix in lower case without its dot, or an empty text."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def read_limited(fd: int, limit: int) -> bytes:
    """The file from its start, at most `limit` plus one byte."""
    pieces = []
    offset = 0
    while offset <= limit:
        piece = os.pread(fd, min(1 << 20, limit + 1 - offset), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def examine(path: str, data: bytes, size: int, limits: Limits) -> Content:
    """Sort the bytes into text, tables and JSON. Raises what a parser raises at its own limits."""
    suffix = suffix_of(path)
    kind = sniff.sniff(data)
    made: Mapping[str, Any] = {"text": None, "prose": "", "value": None, "is_json": False, "tables": ()}
    # What is too large to review is refused for that alone, and not parsed.
    if kind == sniff.TEXT and size <= limits.bytes:
        made = _text_parts(data.decode("utf-8").removeprefix("\ufeff"), suffix, limits)
    return Content(path=path, suffix=suffix, size=size, data=data, kind=kind, **made)


def _text_parts(text: str, suffix: str, limits: Limits) -> dict[str, Any]:
    value, is_json = None, False
    tables: list[Table] = []
    if suffix == "json" or (suffix in _PROSE and text.lstrip()[:1] in ("{", "[")):
        try:
            value = json_tables.parse(text)
            is_json = True
        except ValueError:
            is_json = False
    if is_json:
        tables = json_tables.tables_in(value, limits)
    elif suffix in _TABULAR:
        tables = delimited(text, suffix, limits)
    elif suffix in _PROSE:
        tables = in_text(text, limits)
        objects = json_tables.lines_of_objects(text)
        if len(objects) >= _FEWEST_LINES:
            tables += json_tables.tables_in(objects, limits, len(tables) + 1)
    prose = "\n".join(_BETWEEN_TAGS.findall(text)) if suffix == "svg" else text
    return {"text": text, "prose": prose, "value": value, "is_json": is_json, "tables": tuple(tables)}
