"""SDC020: a table that looks like one row per person, judged by the words of its header (csv and tsv)."""

import re
from collections import Counter
from collections.abc import Iterator
from statistics import median

from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import NEEDS_JUSTIFICATION, Finding, Location
from jobrunner.privacy.disclosure.headers import words
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings
from jobrunner.privacy.disclosure.rules import identifier_names, identifier_values
from jobrunner.privacy.disclosure.tables import Table

_COUNT = "count"
_MEASURES = ("percent", "rate", "stat", "model", "quantile")
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?:[ T].*)?|\d\d?[/.]\d\d?[/.]\d{4}|(?:19|20)\d{6}")
_WHOLE = re.compile(r"\d[\d,]*(?:\.0+)?")
_FLAGS = frozenset({"0", "1"})
_SUGGESTION = "Count or summarise before writing it out, or label the file highly_sensitive."


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """At most one finding for each table."""
    if content.suffix not in ("csv", "tsv"):
        return
    for table in content.tables:
        if len(table.rows) < settings.number("min_rows"):
            continue
        points, alone = _score(table, book, settings)
        if points < settings.number("attend_at"):
            continue
        blocks = points >= settings.number("block_at")
        yield Finding(
            rule="SDC020",
            severity=settings.severity if blocks else NEEDS_JUSTIFICATION,
            message="looks like one row per person" if blocks else "may have one row per person",
            suggestion=_SUGGESTION,
            location=Location(table=table.index),
            evidence={"score": points, "share_of_keys_that_occur_once": round(alone, 4)},
            base_severity=settings.severity,
        )


def _score(table: Table, book: Rulebook, settings: RuleSettings) -> tuple[float, float]:
    """The points of the table, and the share of key tuples that occur once."""
    columns = [table.column(index) for index in range(table.width)]
    roles = [
        _role(table.header[index] if index < len(table.header) else "", cells, book, settings)
        for index, cells in enumerate(columns)
    ]
    counts = [cells for role, cells in zip(roles, columns, strict=True) if role == _COUNT]
    measured = [role == _COUNT or role in _MEASURES for role in roles]
    keys = columns[: measured.index(True)] if True in measured else columns
    occurrences = Counter(zip(*keys, strict=True)) if keys else Counter()
    unique_keys = bool(occurrences) and len(occurrences) == len(table.rows)
    alone = sum(times == 1 for times in occurrences.values()) / len(occurrences) if occurrences else 0.0

    points = 0.0
    if _has_identifier(table, book):
        points += settings.number("identifier")
    if True not in measured:
        points += settings.number("no_measure")
    if _is_about_people(table, columns, book, settings):
        points += settings.number("person_families")
    distinct = len(set(zip(*columns, strict=True)))
    many = len(table.rows) >= settings.number("unique_from")
    if many and distinct >= settings.number("unique_share") * len(table.rows):
        points += settings.number("unique_rows")
    if keys and not unique_keys:
        points += settings.number("repeated_keys")
    if any(set(cells) == {"1"} for cells in counts):
        points += settings.number("constant_count")
    if unique_keys and any(_median(cells) > settings.number("aggregate_median") for cells in counts):
        points += settings.number("aggregate")
    return points, alone


def _role(header: str, cells: list[str], book: Rulebook, settings: RuleSettings) -> str | None:
    found = set(words(header))
    for role in _MEASURES:
        if found & book.words[role]:
            return role
    if found & book.words[_COUNT]:
        suppressed = book.data["counts"]["suppressed_tokens"]
        visible = [cell for cell in cells if cell and cell not in suppressed]
        whole = sum(_WHOLE.fullmatch(cell) is not None for cell in visible)
        if visible and whole >= settings.number("count_share") * len(visible):
            return _COUNT
    return None


def _has_identifier(table: Table, book: Rulebook) -> bool:
    by_name = identifier_names.columns(table, book, book.rules["SDC021"])
    by_value = identifier_values.columns(table, book, book.rules["SDC022"])
    return next(by_name, None) is not None or next(by_value, None) is not None


def _is_about_people(table: Table, columns: list[list[str]], book: Rulebook, settings: RuleSettings) -> bool:
    families = set()
    flags = 0
    for index, cells in enumerate(columns):
        found = set(words(table.header[index])) if index < len(table.header) else set()
        distinct = {cell for cell in cells if cell}
        flags += distinct == _FLAGS
        if found & book.words["age"] and len(distinct) > settings.number("age_distinct"):
            families.add("age")
        if found & book.words["date"] and any(map(_DAY.fullmatch, distinct)):
            families.add("date")
        families.update(name for name in ("sex", "ethnicity", "area") if found & book.words[name])
    return len(families) >= settings.number("families_needed") or flags >= settings.number("flags_needed")


def _median(cells: list[str]) -> float:
    numbers = [float(cell.replace(",", "")) for cell in cells if _WHOLE.fullmatch(cell)]
    return median(numbers) if numbers else 0.0
