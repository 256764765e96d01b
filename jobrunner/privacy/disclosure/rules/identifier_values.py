"""SDC022: values shaped like identifiers of people, whatever their column is called."""

from collections import defaultdict
from collections.abc import Iterator

from jobrunner.privacy.disclosure import values
from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import NEEDS_JUSTIFICATION, Finding, Location, cells_location
from jobrunner.privacy.disclosure.headers import words
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings
from jobrunner.privacy.disclosure.tables import Table

_SUGGESTION = "Remove the values, or label the file highly_sensitive."
_WHOLE_NUMBERS = "long number"


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """One finding for each column and kind, and one for each kind in the running text."""
    in_columns: set[str] = set()
    for table in content.tables:
        for column, kind, cells in columns(table, book, settings):
            in_columns.add(kind)
            header = table.header[column] if column < len(table.header) else None
            place = cells_location(table.index, header, [(row + 1, column + 1) for row in cells])
            yield _finding(settings, settings.severity, f"column of values shaped like a {kind}", place)
    yield from _in_text(content, book, settings, in_columns)


def columns(table: Table, book: Rulebook, settings: RuleSettings) -> Iterator[tuple[int, str, list[int]]]:
    """Columns (from 0) of identifiers, with the kind and the rows (from 0) that hold one."""
    for column in range(table.width):
        header = set(words(table.header[column])) if column < len(table.header) else set()
        cells = table.column(column)
        shapes: dict[str, str | None] = {cell: values.shape_of(cell) for cell in set(cells)}
        for kind in sorted({shape for shape in shapes.values() if shape is not None}):
            of_kind = {cell for cell, shape in shapes.items() if shape == kind}
            if _is_column_of(kind, of_kind, header, book, settings):
                yield column, kind, [row for row, cell in enumerate(cells) if cell in of_kind]
        if _is_numbers(cells, settings):
            yield column, _WHOLE_NUMBERS, [row for row, cell in enumerate(cells) if cell]


def _is_column_of(
    kind: str, cells: set[str], header: set[str], book: Rulebook, settings: RuleSettings
) -> bool:
    if kind == values.HEALTH_NUMBER:
        valid = sum(map(values.is_health_number, cells))
        if valid and header & book.words["health_number"]:
            return True
        # One in eleven random numbers passes the check digit.
        return valid >= settings.number("hits") and valid >= settings.number("share") * len(cells)
    if kind == values.HEX and header & book.words["digest"]:
        return False
    return len(cells) >= settings.number("hits")


def _is_numbers(cells: list[str], settings: RuleSettings) -> bool:
    """Equal-length whole numbers that are nearly all different: a running number of people."""
    if len(cells) < settings.number("min_rows"):
        return False
    numbers = {cell for cell in cells if cell.isascii() and cell.isdigit()}
    if len(numbers) < settings.number("share") * len(cells):
        return False
    lengths = set(map(len, numbers))
    if len(lengths) != 1 or lengths.pop() < settings.number("number_digits"):
        return False
    return not all(map(values.is_compact_date, numbers))


def _in_text(
    content: Content, book: Rulebook, settings: RuleSettings, in_columns: set[str]
) -> Iterator[Finding]:
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for kind, token, offset in values.tokens(content.prose):
        if kind == values.HEX and _line_words(content.prose, offset) & book.words["digest"]:
            continue
        found[kind].append((token, offset))
    for kind, hits in sorted(found.items()):
        if kind in in_columns:
            continue
        valid = hits
        if kind == values.HEALTH_NUMBER:
            valid = [hit for hit in hits if values.is_health_number(hit[0])]
        if not valid:
            continue
        distinct = {token for token, _offset in valid}
        many = len(distinct) >= settings.number("hits")
        many = many and len(distinct) >= settings.number("share") * len({token for token, _offset in hits})
        blocks = many and kind in settings.words("text_block")
        line = content.prose.count("\n", 0, valid[0][1]) + 1
        severity = settings.severity if blocks else NEEDS_JUSTIFICATION
        yield _finding(
            settings, severity, f"value shaped like a {kind}", Location(line=line, cell_total=len(valid))
        )


def _line_words(text: str, offset: int) -> set[str]:
    start = text.rfind("\n", 0, offset) + 1
    # A word that explains the value stands near it; a line may have a mebibyte.
    return set(words(text[max(start, offset - 200) : offset]))


def _finding(settings: RuleSettings, severity: str, message: str, place: Location) -> Finding:
    return Finding("SDC022", severity, message, _SUGGESTION, place, base_severity=settings.severity)
