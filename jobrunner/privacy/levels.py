"""The two privacy levels of an output, and which of them wins.

Words: design.md section 2. `minimally_sensitive` in old files is treated as moderately sensitive.
"""

from collections.abc import Iterable

HIGHLY = "highly_sensitive"
MODERATELY = "moderately_sensitive"

_MEANING = {
    "highly_sensitive": HIGHLY,
    "moderately_sensitive": MODERATELY,
    "minimally_sensitive": MODERATELY,
}


def level_named(word: str) -> str:
    """The level that `word` of a project.yaml stands for. Raises ValueError for any other word."""
    try:
        return _MEANING[word]
    except KeyError:
        raise ValueError(f"{word!r} is not a privacy level") from None


def most_sensitive(levels: Iterable[str]) -> str:
    """The level of a file that several patterns match: highly sensitive wins (threats.md section 4 item 8).

    Raises ValueError for an unknown word or for no level at all.
    """
    named = {level_named(level) for level in levels}
    if not named:
        raise ValueError("a file without a level")
    return HIGHLY if HIGHLY in named else MODERATELY
