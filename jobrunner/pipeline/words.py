"""Splitting a run text into words (project-yaml.md section 2). Nothing is ever expanded or joined again."""

import re
from dataclasses import dataclass

MAX_WORDS = 256
MAX_WORD_BYTES = 8_192
MAX_IMAGE_NAME = 100

#: The form of an image name, as a regular expression for the whole of it.
IMAGE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"

_SEPARATORS = " \t\r\n"
_BARE = re.compile(r"[^ \t\r\n'\"\\]+")
_DOUBLE = re.compile(r'[^"\\]+')

#: Image versions: `v` with digits and dots, perhaps `-pre`; `dev`; `latest`.
_VERSION = re.compile(r"v[0-9.]+(?:-pre)?|dev|latest")
_VERSION_OTHER_DIGITS = re.compile(r"v[\d.]+(?:-pre)?")


class OpenQuoteError(ValueError):
    """A quote is never closed, or a backslash ends the text. `sign` is that character."""

    def __init__(self, sign: str) -> None:
        super().__init__(f"{sign} is left open")
        self.sign = sign


@dataclass(frozen=True, slots=True)
class Image:
    """A first word, cut at its first `:`. `version` is None without a good version."""

    name: str
    version: str | None
    other_digits: bool


def is_blank(text: str) -> bool:
    """Whether there is nothing but what separates words."""
    return not text.strip(_SEPARATORS)


def split_words(text: str) -> tuple[str, ...]:
    """The words of a run text. Raises OpenQuoteError. Time: linear."""
    words: list[str] = []
    parts: list[str] = []
    in_word = False
    index, length = 0, len(text)
    while index < length:
        char = text[index]
        if char in _SEPARATORS:
            if in_word:
                words.append("".join(parts))
                parts.clear()
                in_word = False
            index += 1
            continue
        in_word = True
        if char == "'":
            end = text.find("'", index + 1)
            if end < 0:
                raise OpenQuoteError("'")
            parts.append(text[index + 1 : end])
            index = end + 1
        elif char == '"':
            index = _double_quoted(text, index + 1, parts)
        elif char == "\\":
            if index + 1 == length:
                raise OpenQuoteError("\\")
            parts.append(text[index + 1])
            index += 2
        else:
            bare = _BARE.match(text, index)
            end = bare.end() if bare else index + 1
            parts.append(text[index:end])
            index = end
    if in_word:
        words.append("".join(parts))
    return tuple(words)


def _double_quoted(text: str, index: int, parts: list[str]) -> int:
    """Add what stands before the closing quote; the place after that quote."""
    while index < len(text):
        char = text[index]
        if char == '"':
            return index + 1
        if char == "\\" and text[index + 1 : index + 2] in ('"', "\\"):
            parts.append(text[index + 1])
            index += 2
        elif char == "\\":
            parts.append(char)
            index += 1
        else:
            run = _DOUBLE.match(text, index)
            end = run.end() if run else index + 1
            parts.append(text[index:end])
            index = end
    raise OpenQuoteError('"')


def read_image(word: str) -> Image:
    """Image name and version of a first word."""
    name, _, version = word.partition(":")
    if _VERSION.fullmatch(version):
        return Image(name, version, False)
    if _VERSION_OTHER_DIGITS.fullmatch(version):
        return Image(name, version, True)
    return Image(name, None, False)
