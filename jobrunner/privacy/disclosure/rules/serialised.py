"""SDC032: notebooks, trained models and other stored objects, which may hold records no rule can see."""

import re
from collections.abc import Iterator
from typing import Any

from jobrunner.privacy.disclosure import json_tables, sniff
from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding
from jobrunner.privacy.disclosure.headers import words
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings
from jobrunner.privacy.disclosure.tables import Table

_SUGGESTION = "Write the results as a table with named terms, or label the file highly_sensitive."
_PROSE = frozenset({"txt", "log", "md"})
# The printed forms of trees: "|--- age <= 40.5", "0:[f2<2.45] yes=1,no=2", "2) age< 40 120 30 0".
_PRINTED_NODE = re.compile(r"^[ \t|]*(?:(?<=\|)--- |\d+:(?:\[|leaf=)|\d+\) \S+ ?[<>=])", re.M)
_DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(?:[eE][-+]?\d+)?(?![\w.])")


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """At most one finding."""
    why = _why(content, book, settings)
    if why is not None:
        yield Finding("SDC032", settings.severity, why, _SUGGESTION)


def _why(content: Content, book: Rulebook, settings: RuleSettings) -> str | None:
    if sniff.is_serialised(content.kind):
        return f"a stored object ({content.kind})"
    if content.is_json:
        value = content.value
        if isinstance(value, dict) and "nbformat" in value and "cells" in value:
            return "a notebook"
        return _json_model(value, book, settings)
    if content.suffix in _PROSE and content.text is not None:
        return _printed_model(content, settings)
    return None


def _json_model(value: Any, book: Rulebook, settings: RuleSettings) -> str | None:
    nodes = 0
    decimals = 0
    has_terms = False
    for _pointer, holder in json_tables.walk(value):
        if isinstance(holder, dict):
            found = {word for key in holder for word in (key.lower(), *words(key))}
            nodes += len(found & book.words["tree"]) >= settings.number("tree_words")
            has_terms = has_terms or bool(found & book.words["term"])
        elif holder and all(_is_number(one) for one in holder):
            decimals += sum(isinstance(one, float) for one in holder)
    if nodes > settings.number("nodes"):
        return "trained model contents (tree)"
    if decimals > settings.number("decimals") and not has_terms:
        return "trained model contents (weights)"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, float | json_tables.Whole)


def _printed_model(content: Content, settings: RuleSettings) -> str | None:
    text = content.text or ""
    if _count(_PRINTED_NODE, text) > settings.number("nodes"):
        return "trained model contents (tree)"
    if _count(_DECIMAL, text) <= settings.number("decimals"):
        return None
    labelled = {line for table in content.tables if _has_labels(table) for line in table.lines}
    decimals = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if number not in labelled:
            decimals += _count(_DECIMAL, line)
    return "trained model contents (weights)" if decimals > settings.number("decimals") else None


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _found in pattern.finditer(text))


def _has_labels(table: Table) -> bool:
    """Whether a table names what its rows are: a header, or a first column of words."""
    if any(table.header):
        return True
    first = table.column(0)
    return sum(any(sign.isalpha() for sign in cell) for cell in first) * 2 > len(first)
