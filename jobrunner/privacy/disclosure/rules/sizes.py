"""SDC031: a file that is larger than a person can review."""

from collections.abc import Iterator

from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding, Location
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """One finding for each limit that is passed."""
    limits = book.limits
    if content.size > limits.bytes:
        yield _finding(settings, f"{content.size:,} bytes, limit {limits.bytes:,}", Location())
    if len(content.tables) > limits.tables_per_file:
        yield _finding(settings, f"more than {limits.tables_per_file:,} tables", Location())
    for table in content.tables:
        place = Location(table=table.index, pointer=table.pointer)
        if len(table.rows) > limits.rows:
            yield _finding(settings, f"more than {limits.rows:,} rows", place)
        if table.width > limits.columns:
            yield _finding(settings, f"more than {limits.columns:,} columns", place)
        if len(table.header) + sum(map(len, table.rows)) > limits.cells:
            yield _finding(settings, f"more than {limits.cells:,} cells", place)


def _finding(settings: RuleSettings, message: str, place: Location) -> Finding:
    return Finding(
        rule="SDC031",
        severity=settings.severity,
        message=message,
        suggestion="Summarise or split it, or label it highly_sensitive.",
        location=place,
    )
