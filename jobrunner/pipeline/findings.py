"""Collecting problems while the rules run."""

from operator import itemgetter

from jobrunner.pipeline.model import Problem, Severity
from jobrunner.pipeline.nodes import Node
from jobrunner.pipeline.suggestions import Comparisons

#: line, column, id, message, severity, action, beside: as sorted.
_Row = tuple[int, int, str, str, Severity, str | None, int | None]


class Findings:
    """All problems of one check. What an alias brings to one place of an action twice counts once.

    `comparisons` is what looking for names that were meant may cost the whole check.
    """

    def __init__(self, found: list[Problem]) -> None:
        self.comparisons = Comparisons()
        self._rows: dict[_Row, None] = {}
        for one in found:
            self._rows[one.line, one.column, one.id, one.message, one.severity, one.action, one.beside] = None

    def error(
        self, rule: str, node: Node, action: str | None, message: str, beside: int | None = None
    ) -> None:
        """An error at a node of the tree; `beside` as in Problem."""
        self._rows[node.line, node.column, rule, message, "error", action, beside] = None

    def warning(
        self, rule: str, node: Node, action: str | None, message: str, beside: int | None = None
    ) -> None:
        """A warning at a node of the tree; `beside` as in Problem."""
        self._rows[node.line, node.column, rule, message, "warning", action, beside] = None

    def error_at_start(self, rule: str, message: str) -> None:
        """An error about something that is missing from the file."""
        self._rows[1, 1, rule, message, "error", None, None] = None

    def sorted(self) -> tuple[Problem, ...]:
        """By line, column, id and message."""
        rows = sorted(self._rows, key=itemgetter(0, 1, 2, 3))
        return tuple(
            Problem(rule, severity, line, column, action, message, beside)
            for line, column, rule, message, severity, action, beside in rows
        )
