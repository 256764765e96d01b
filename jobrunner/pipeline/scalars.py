"""What an unquoted text stands for: the table of project-yaml.md section 1, item 5."""

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_SPECIAL_FLOATS = {".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

#: No text that begins otherwise can be anything but a string.
_MAYBE_NUMBER = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_FIRST_DIGIT = re.compile(r"[-+.]*[0-9]")
_BASES = {"x": 16, "o": 8, "b": 2}

#: Python refuses to print longer integers, and reading them takes more than linear time.
_MOST_DIGITS = 3_000


class UnfitTagError(ValueError):
    """A tag such as `!!int` stands before a text that is no such thing."""


def read_plain(text: str) -> Scalar:
    """The value of an unquoted text. An integer of more than 3,000 digits reads as infinity."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _MAYBE_NUMBER:
        if len(text) < 10 and text.isdecimal() and text.isascii():
            return int(text)
        number = _read_number(text)
        if number is not None:
            return number
    return text


def read_tagged(tag: str, text: str) -> Scalar:
    """The value of a text after one of the tags `str int float bool null` (short names).

    Raises UnfitTagError for a text that does not fit.
    """
    if tag == "str":
        return text
    value = read_plain(text)
    if tag == "null" and value is None:
        return None
    if tag == "bool" and isinstance(value, bool):
        return value
    if tag == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if tag == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return _as_float(value)
    raise UnfitTagError(tag)


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _read_number(text: str) -> int | float | None:
    if text in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[text]
    if "_" in text:
        first = _FIRST_DIGIT.match(text)
        if first is None:
            return None
        text = text[: first.end()] + text[first.end() :].replace("_", "")
    if _INTEGER.fullmatch(text):
        return _read_integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return None


def _read_integer(text: str) -> int | float:
    if len(text) > _MOST_DIGITS:
        return -math.inf if text[0] == "-" else math.inf
    digits = text.lstrip("+-")
    base = _BASES.get(digits[1:2], 10)
    number = int(digits if base == 10 else digits[2:], base)
    return -number if text[0] == "-" else number
