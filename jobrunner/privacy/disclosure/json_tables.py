"""JSON without surprises, and the tables in it: disclosure-rules.md section 3.1."""

import json
from collections.abc import Iterator
from typing import Any

from jobrunner.privacy.disclosure.rulebook import Limits
from jobrunner.privacy.disclosure.tables import Table


class Whole(str):
    """A whole number as written: digits without end cost nothing, since they never become an int."""

    __slots__ = ()


def parse(text: str) -> Any:
    """The JSON value in `text`. A key that is there twice is kept twice, the later one under another name.

    Raises ValueError for what is no JSON, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_int=Whole, object_pairs_hook=_all_pairs)


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        name = key
        while name in found:
            name += " "
        found[name] = value
    return found


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every mapping and list in a JSON value, each with its JSON pointer, outer ones first."""
    waiting = [("", value)]
    while waiting:
        pointer, current = waiting.pop()
        if isinstance(current, dict):
            yield pointer, current
            waiting.extend(
                (f"{pointer}/{_escape(key)}", one) for key, one in current.items() if _is_holder(one)
            )
        elif isinstance(current, list):
            yield pointer, current
            waiting.extend(
                (f"{pointer}/{index}", one) for index, one in enumerate(current) if _is_holder(one)
            )


def tables_in(value: Any, limits: Limits, first_index: int = 1) -> list[Table]:
    """Lists of objects, objects of equal-length lists, lists of lists; other scalars as one-row tables.

    Stops at one table over the limit.
    """
    tables: list[Table] = []
    covered: set[int] = set()
    for pointer, current in walk(value):
        if len(tables) > limits.tables_per_file:
            break
        made = _mapping(current, covered) if isinstance(current, dict) else _list(current, limits, covered)
        if made is not None:
            header, rows = made
            numbers = range(len(rows))
            tables.append(Table(first_index + len(tables), "json", header, rows, numbers, pointer))
    return tables


def _list(
    items: list[Any], limits: Limits, covered: set[int]
) -> tuple[tuple[str, ...], list[list[str]]] | None:
    if id(items) in covered or not items:
        return None
    kept = items[: limits.rows + 1]
    if all(isinstance(one, dict) for one in items):
        covered.update(map(id, items))
        keys = list(dict.fromkeys(key for one in kept for key in one))[: limits.columns + 1]
        return tuple(keys), [[_cell(one.get(key)) for key in keys] for one in kept]
    if all(isinstance(one, list) for one in items):
        covered.update(map(id, items))
        rows = [[_cell(cell) for cell in one[: limits.columns + 1]] for one in items[: limits.rows + 2]]
        # Text over numbers is a header; without one every row is data.
        if rows[0] and all(isinstance(cell, str) and not isinstance(cell, Whole) for cell in items[0]):
            return tuple(rows[0]), rows[1:]
        return ("",) * len(rows[0]), rows[: limits.rows + 1]
    if any(_is_holder(one) for one in items):
        return None
    return ("",), [[_cell(one)] for one in kept]


def _mapping(items: dict[str, Any], covered: set[int]) -> tuple[tuple[str, ...], list[list[str]]] | None:
    if id(items) in covered:
        return None
    columns = {key: one for key, one in items.items() if isinstance(one, list)}
    length = len(next(iter(columns.values()))) if columns else 0
    if length > 1 and all(len(one) == length for one in columns.values()):
        flat = [one for one in columns.values() if not any(_is_holder(cell) for cell in one)]
        if len(flat) == len(columns):
            covered.update(map(id, flat))
            cells = ([_cell(cell) for cell in row] for row in zip(*flat, strict=True))
            return tuple(columns), list(cells)
    scalars = {key: one for key, one in items.items() if not _is_holder(one)}
    if not scalars:
        return None
    return tuple(scalars), [[_cell(one) for one in scalars.values()]]


def lines_of_objects(text: str) -> list[dict[str, Any]]:
    """The objects of a text that has one JSON object a line, as programs write logs."""
    found: list[dict[str, Any]] = []
    if "{" not in text:
        return found
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("{") and stripped.endswith("}"):
            try:
                value = parse(stripped)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                found.append(value)
    return found


def _is_holder(value: Any) -> bool:
    return isinstance(value, dict | list)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        value if isinstance(value, str) else json.dumps(value)[:10_000] if _is_holder(value) else str(value)
    )


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
