"""Collecting problems while the rules run."""

from jobrunner.pipeline.model import Problem, Severity
from jobrunner.pipeline.nodes import Node


class Findings:
    """All problems of one check. What an alias brings to one place of an action twice counts once."""

    def __init__(self, found: list[Problem]) -> None:
        self._problems = dict.fromkeys(found)

    def error(self, rule: str, node: Node, action: str | None, message: str) -> None:
        """An error at a node of the tree."""
        self._add(rule, "error", node.line, node.column, action, message)

    def warning(self, rule: str, node: Node, action: str | None, message: str) -> None:
        """A warning at a node of the tree."""
        self._add(rule, "warning", node.line, node.column, action, message)

    def error_at_start(self, rule: str, message: str) -> None:
        """An error about the file as a whole, or about something that is missing from it."""
        self._add(rule, "error", 1, 1, None, message)

    def _add(
        self, rule: str, severity: Severity, line: int, column: int, action: str | None, message: str
    ) -> None:
        self._problems[Problem(rule, severity, line, column, action, message)] = None

    def sorted(self) -> tuple[Problem, ...]:
        """By line, column, id and message."""
        return tuple(sorted(self._problems, key=lambda one: (one.line, one.column, one.id, one.message)))
