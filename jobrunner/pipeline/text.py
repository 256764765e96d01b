"""From bytes to text that a YAML parser may be given: size, encoding, characters, directives."""

import codecs
import re
from dataclasses import dataclass

from jobrunner.pipeline.model import Problem
from jobrunner.pipeline.wording import character, quote

MAX_BYTES = 5_000_000

_OTHER_ENCODINGS = (
    # The longer marks first: that of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_EXOTIC_LINE_ENDS = frozenset("\x85\u2028\u2029")
_LINE_END = re.compile("\r\n|\r|\n")

_LINE = re.compile("([^\r\n]*)(?:\r\n|\r|\n|\\Z)")
_SUPPORTED_DIRECTIVE = re.compile(r"%YAML[ \t]+1\.2[ \t]*(?:[ \t]#.*)?")
_VERSION_DIRECTIVE = re.compile(r"%YAML[ \t]+[0-9]+\.[0-9]+[ \t]*(?:[ \t]#.*)?")
_RESERVED_DIRECTIVE = re.compile(r"%(?!YAML\b|TAG\b)[^ \t].*")

#: libyaml compares each %TAG directive with each other one.
_MOST_TAG_DIRECTIVES = 50


@dataclass(frozen=True, slots=True)
class Text:
    """Text without byte order mark, character for character in the file's places, and what is wrong so far.

    `text` is None if there is nothing to go on with.
    """

    text: str | None
    problems: tuple[Problem, ...]


def decode(data: bytes) -> Text:
    """The text of a file, or the one problem that forbids reading it (PY002, PS001, PS005).

    Directives beyond `%YAML 1.2` are reported (PS006) and do not forbid it.
    """
    if len(data) > MAX_BYTES:
        message = f"The file has {len(data):,} bytes or more; {MAX_BYTES:,} are allowed."
        return _stop("PS001", 1, 1, f"{message} Split the study, or shorten generated parts.")
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            return _stop("PS005", 1, 1, f"The file is in {name}. Save it in UTF-8.")
    try:
        text, undecodable = data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        text, undecodable = data[: error.start].decode("utf-8"), data[error.start]
    # Each document prefix may bring its own mark, so more than one is legal.
    text = text.lstrip("\ufeff")
    found = _FORBIDDEN.search(text)
    if found:
        return _refuse_character(text, found.start())
    if undecodable is not None:
        line, column = place(text, len(text))
        return _stop(
            "PY002", line, column, f"The byte 0x{undecodable:02X} here is not UTF-8. Save the file in UTF-8."
        )
    return _read_directives(text)


def place(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at `index`."""
    line, start = 1, 0
    for end in _LINE_END.finditer(text, 0, index):
        line, start = line + 1, end.end()
    return line, index - start + 1


def _refuse_character(text: str, index: int) -> Text:
    char = text[index]
    line, column = place(text, index)
    if char in _EXOTIC_LINE_ENDS:
        message = f"The file holds the line end U+{ord(char):04X} here."
        hint = "Use plain line ends, or write it as an escape in double quotes."
        return _stop("PS005", line, column, f"{message} {hint}")
    return _stop(
        "PY002", line, column, f"The file holds {character(char)} here, which no YAML file may. Remove it."
    )


def _stop(rule: str, line: int, column: int, message: str) -> Text:
    return Text(None, (Problem(rule, "error", line, column, None, message),))


def _read_directives(text: str) -> Text:
    """Report directives beyond `%YAML 1.2`, and put what libyaml would misread in a form that it passes over.

    Lengths stay as they are, so positions do too.
    """
    if not (text.startswith("%") or "\n%" in text or "\r%" in text):
        return Text(text, ())
    problems: list[Problem] = []
    parts: list[str] = []
    position, line, tags = 0, 1, 0
    while position < len(text):
        found = _LINE.match(text, position)
        content = found.group(1) if found else ""
        if not found or not (content.startswith(("%", "#")) or not content.strip(" \t")):
            break
        if content.startswith("%") and not _SUPPORTED_DIRECTIVE.fullmatch(content):
            problems.append(
                Problem(
                    "PS006",
                    "error",
                    line,
                    1,
                    None,
                    f"The directive {quote(content)} is not supported. Remove it.",
                )
            )
            tags += content.startswith("%TAG")
            content = _passed_over(content, tags)
        parts.append(content + text[found.end(1) : found.end()])
        position, line = found.end(), line + 1
    if problems and not text.startswith("---", position):
        message = (
            "This is not valid YAML: after a directive there must be a line `---`. Remove the directive."
        )
        return Text(None, (*problems, Problem("PY001", "error", line, 1, None, message)))
    return Text("".join(parts) + text[position:], tuple(problems))


def _passed_over(directive: str, tags: int) -> str:
    if _VERSION_DIRECTIVE.fullmatch(directive):
        return "%YAML 1.2".ljust(len(directive))
    if _RESERVED_DIRECTIVE.fullmatch(directive) or tags > _MOST_TAG_DIRECTIVES:
        return "#" + directive[1:]
    return directive
