"""Problems as lines for a terminal, each with the line of the file that it is about."""

import re
import unicodedata
from collections.abc import Iterable

from jobrunner.pipeline.model import Problem
from jobrunner.pipeline.text import MAX_BYTES

_LINE_END = re.compile("\r\n|\r|\n")

#: How much of a long line is shown, and how much of it before the place.
_WIDTH, _BEFORE = 100, 60

#: Reported at line 1, column 1 for what the file lacks or is as a whole: no line of it is to blame.
_ABOUT_THE_FILE = frozenset({"PY011", "PY014", "PY016", "PS001", "PS005", "PS007"})

#: What stands at a place: a quoted text, or all up to what ends an unquoted one.
_WHAT = re.compile(
    r""""(?:\\.|[^"\\])*" | '(?:[^']|'')*' | (?:(?! :(?:\s|$) | [,\[\]{}] | \s+\# | \s*$ ).)+""", re.VERBOSE
)


#: About the first word of a command only.
_ABOUT_THE_IMAGE = frozenset({"PY061", "PY062", "PY063", "PS032", "PS033"})
_FIRST_WORD = re.compile(r"""(?![&!])["']?[^\s"']+""")


def as_text(path: str, problems: Iterable[Problem], data: bytes) -> str:
    """`FILE:line:column: severity id: message`, then, indented, that line with the place marked.

    A problem with two places has the line of the other one above, or below where that comes later.
    """
    lines = (
        _LINE_END.split(data.decode("utf-8", "replace").lstrip("\ufeff")) if len(data) <= MAX_BYTES else []
    )
    parts: list[str] = []
    for problem in _level_first(problems):
        place = f"{path}:{problem.line}:{problem.column}"
        parts.append(f"{place}: {problem.severity} {problem.id}: {problem.message}\n")
        about_the_file = problem.id in _ABOUT_THE_FILE and (problem.line, problem.column) == (1, 1)
        if not about_the_file and problem.line <= len(lines):
            other = _other_line(problem, lines)
            marked = _marked(problem, lines[problem.line - 1])
            parts.append(other + marked if (problem.beside or 0) < problem.line else marked + other)
    return "".join(parts)


def _level_first(problems: Iterable[Problem]) -> list[Problem]:
    """In the same order, but an unknown level (PY041) before that there is then no level at all (PY040)."""
    numbered = list(enumerate(problems))
    last = {problem.action: number for number, problem in numbered if problem.id == "PY041"}

    def place(entry: tuple[int, Problem]) -> tuple[int, int]:
        number, problem = entry
        after = last.get(problem.action, number) if problem.id == "PY040" else number
        return max(number, after), int(after > number)

    return [problem for _number, problem in sorted(numbered, key=place)]


def _other_line(problem: Problem, lines: list[str]) -> str:
    if problem.beside is None or problem.beside == problem.line:
        return ""
    text = lines[problem.beside - 1]
    cut = text if len(text) <= _WIDTH else text[:_WIDTH] + "…"
    return f"{problem.beside:>5} | {_printable(cut)}\n"


def _marked(problem: Problem, line: str) -> str:
    start = problem.column - 1
    first = max(0, start - _BEFORE)
    # Only what can be shown is looked at: a line may have millions of characters.
    shown_part = line[start : start + _WIDTH]
    about_image = problem.id in _ABOUT_THE_IMAGE and _FIRST_WORD.match(shown_part)
    what = about_image or _WHAT.match(shown_part)
    length = what.end() if what else 1
    before = ("…" if first else "") + _printable(line[first:start])
    marked, after = _printable(shown_part[:length]), _printable(shown_part[length:])
    text = before + marked + after
    cut = text if len(text) <= _WIDTH else text[:_WIDTH] + "…"
    signs = "^" * max(1, min(_cells(marked), _WIDTH - len(before)))
    return f"{problem.line:>5} | {cut}\n      | {' ' * _cells(before)}{signs}\n"


def _printable(text: str) -> str:
    """The text with a space for each tab, and a replacement sign for what would steer the terminal."""
    shown = text.replace("\t", " ")
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
