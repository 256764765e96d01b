"""What libyaml says about text that is not YAML, in words for the person who wrote it."""

import re
from collections.abc import Iterator

from yaml import MarkedYAMLError, YAMLError

from jobrunner.pipeline.wording import plain

_GENERAL_HINT = "Check quotes, colons and indentation just above."

#: How much of the text above is looked at for the lines that a message names.
_MOST_LOOKED_AT = 100_000

_LINE_END = re.compile("\r\n|\r|\n")


def explain(error: YAMLError, text: str) -> tuple[int, int, str]:
    """Line and column, from 1, where reading `text` stopped, and the message of PY001."""
    line = column = 1
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    return line, column, f"This is not valid YAML: {_what(error, text)}"


def _what(error: YAMLError, text: str) -> str:
    if not isinstance(error, MarkedYAMLError):
        return f"{plain(' '.join(str(error).split()))}. {_GENERAL_HINT}"
    problem, context = error.problem or "it cannot be read", error.context or ""
    began = f"line {error.context_mark.line + 1}" if error.context_mark is not None else "an earlier line"
    if problem == "found unexpected end of stream" and "quoted scalar" in context:
        return f"the quote that opens on {began} is never closed. Close it, or c{_GENERAL_HINT[1:]}"
    if problem == "mapping values are not allowed in this context":
        return _indented_deeper(error, text) or (
            "a `:` followed by a space stands where no value may begin. "
            "Put the text in quotes, or mend the indentation."
        )
    if problem == "found character that cannot start any token" or "tab character" in problem:
        hint = "Indent with spaces, or put the text in quotes."
        return f"no value may begin with this sign (a tab, `@`, `%`, a backtick). {hint}"
    if problem == "could not find expected ':'":
        return f"the key that begins on {began} has no `:` after it. Add it, or mend the indentation."
    if problem in ("did not find expected key", "did not find expected '-' indicator"):
        hint = "Mend its indentation, or quotes just above."
        return _indented_otherwise(error, text) or (
            f"this line does not fit the list or mapping that begins on {began}. {hint}"
        )
    if problem in ("did not find expected ',' or '}'", "did not find expected ',' or ']'"):
        return f"the bracket that opens on {began} is not closed, or a comma is missing. Add what is missing."
    return f"{plain(problem)}{' ' + plain(context) if context else ''}. {_GENERAL_HINT}"


def _indented_otherwise(error: MarkedYAMLError, text: str) -> str:
    """For a line that begins between two levels of those above it, so that it belongs to neither."""
    here, start = error.problem_mark, error.context_mark
    if here is None or start is None or start.line >= here.line or here.column == start.column:
        return ""
    if _before(text, here.index).strip(" "):
        return ""
    deeper = [
        (_indent(line), -number)
        for number, line in _lines_above(text, here.index, here.line)
        if number > start.line and _indent(line) > here.column
    ]
    levels = f"line {start.line + 1} begins after {start.column}"
    if deeper:
        level, below = min(deeper)
        levels += f", line {-below} after {level}"
    return (
        f"line {here.line + 1} begins after {_spaces(here.column)}, which fits no line above it: {levels}. "
        "Give it as many spaces as the lines have that it stands beside."
    )


def _indented_deeper(error: MarkedYAMLError, text: str) -> str:
    """For a key further right than the key above it, so that it is read as more of the text of that key."""
    here = error.problem_mark
    if here is None:
        return ""
    key = _before(text, here.index)
    number, above = next(_lines_above(text, here.index, here.line), (0, ""))
    deep, level = _indent(key), _indent(above)
    if deep <= level or ": " not in above:
        return ""
    return (
        f"line {here.line + 1} begins after {_spaces(deep)} and line {number} above it after {level}, so it "
        "is read as more of the text there. Give both the same number of spaces, or put the text in quotes."
    )


def _before(text: str, index: int) -> str:
    """What stands on the same line before this place."""
    start = max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1
    return text[start:index]


def _lines_above(text: str, index: int, line: int) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of the whole lines above this place that hold more than space and a comment.

    The nearest comes first; those further up than _MOST_LOOKED_AT characters are left out.
    """
    end = index - len(_before(text, index))
    first = max(0, end - _MOST_LOOKED_AT)
    *lines, _ = _LINE_END.split(text[first:end])
    for above, found in enumerate(reversed(lines if first == 0 else lines[1:])):
        if found.strip() and not found.lstrip().startswith("#"):
            yield line - above, found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _spaces(number: int) -> str:
    return f"{number} space{'' if number == 1 else 's'}"
