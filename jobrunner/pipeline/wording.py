"""How problems quote what they found: cut at 80 characters, no control character, always in backticks."""

from collections.abc import Iterable

QUOTED_LENGTH = 80


def plain(text: str) -> str:
    """`text` cut at 80 characters, whatever does not print shown as its code point."""
    shown = text[: QUOTED_LENGTH + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in shown)
    return shown if len(shown) <= QUOTED_LENGTH else shown[: QUOTED_LENGTH - 1] + "…"


def quote(text: str) -> str:
    """`text` in backticks, fit for one line of a message."""
    return f"`{plain(text)}`"


def listing(texts: Iterable[str], limit: int = 6) -> str:
    """Several quoted texts, the first few of them, with how many more there are."""
    every = list(texts)
    shown = ", ".join(quote(text) for text in every[:limit])
    return f"{shown} and {len(every) - limit} more" if len(every) > limit else shown


def character(char: str) -> str:
    """The name of a character that cannot be shown: `the character U+0000`, or `a line end`."""
    if char in "\r\n":
        return "a line end"
    return f"the character U+{ord(char):04X}"
