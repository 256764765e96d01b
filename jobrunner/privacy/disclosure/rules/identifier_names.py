"""SDC021: a column or key that is named like an identifier of people."""

import re
from collections.abc import Iterator

from jobrunner.privacy.disclosure import json_tables
from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding, Location, cells_location
from jobrunner.privacy.disclosure.headers import last_word, names_one_of
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings
from jobrunner.privacy.disclosure.tables import Table

_SEPARATORS = re.compile(r"[,;\t|]")
_SUGGESTION = "Remove the column, or label the file highly_sensitive."


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """One finding for each column or JSON key."""
    for table in content.tables:
        for column, header in columns(table, book, settings):
            place = cells_location(
                table.index, header, [(0, column + 1)], 1 if table.origin == "csv" else None
            )
            yield _finding(settings, "identifier column", place)
    if content.is_json:
        yield from _keys(content, book, settings)


def columns(table: Table, book: Rulebook, settings: RuleSettings) -> Iterator[tuple[int, str]]:
    """The columns (from 0) of a table that are named like identifiers, with their header."""
    seen = set()
    for names in _header_rows(table):
        for column, name in enumerate(names):
            # Where the delimiter was guessed wrongly, one cell holds several names.
            parts = [name, *_SEPARATORS.split(name)]
            if column not in seen and any(names_one_of(part, book.id_columns) for part in parts):
                seen.add(column)
                yield column, name
    if len(table.rows) >= settings.number("min_rows"):
        for column, name in enumerate(table.header):
            if column not in seen and last_word(name) in book.words["identifier"]:
                cells = [cell for cell in table.column(column) if cell]
                if cells and len(set(cells)) >= settings.number("unique_share") * len(table.rows):
                    yield column, name


def _header_rows(table: Table) -> Iterator[tuple[str, ...]]:
    """Row 0, and where a title stands above the real header, the first row as wide as the table."""
    yield table.header
    width = table.width
    if len(list(filter(None, table.header))) < width:
        for row in table.rows:
            if len(list(filter(None, row))) == width:
                yield tuple(row)
                return


def _keys(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    seen = set()
    for pointer, holder in json_tables.walk(content.value):
        if not isinstance(holder, dict):
            continue
        for key in holder:
            if key not in seen and names_one_of(key, book.id_columns):
                seen.add(key)
                yield _finding(settings, "identifier key", Location(header=key, pointer=pointer))


def _finding(settings: RuleSettings, message: str, place: Location) -> Finding:
    return Finding("SDC021", settings.severity, message, _SUGGESTION, place)
