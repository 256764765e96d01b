"""The fixed texts that stand in the medium area in place of a file that may not be shown there.

A notice names rules, never a value, a name or a number from the file.
"""

from collections.abc import Iterable, Mapping

HELD = "HELD"
UNCHECKED = "SDC099"

_TEXTS: Mapping[str, str] = {
    "SDC020": "it looks like a table with one row per person. Count or summarise before writing it out.",
    "SDC021": "it has an identifier column. Remove that column, or label the file highly_sensitive.",
    "SDC022": "it holds values shaped like identifiers of people. Remove them, "
    "or label the file highly_sensitive.",
    "SDC030": "its type is not one that can be reviewed, or its content is not what its name says. "
    "Write plain UTF-8 csv, txt, json or md, or a png, jpeg or svg picture.",
    "SDC031": "it is larger than a person can review (bytes, rows, columns, cells or tables). "
    "Summarise or split it.",
    "SDC032": "it is a notebook, a model or another stored object. Write the results as a table, "
    "or label the file highly_sensitive.",
    "SDC033": "it is an svg picture with scripts, links, animation, declarations or parts from outside. "
    "Write a plain svg picture, or a png.",
    "SDC099": "it could not be checked within the limits of time and memory, or the check failed. "
    "Write a smaller or simpler file.",
    HELD: "pages of this type cannot be shown safely here yet. The file is kept in the high area; "
    "write the same results as csv, txt or png to have them reviewed.",
}


def message(rules: Iterable[str]) -> str:
    """One line that says why a file was kept out, for the manifest. Unknown ids read as a failed check."""
    known = sorted({rule if rule in _TEXTS else UNCHECKED for rule in rules}) or [UNCHECKED]
    return " ".join(f"{_id(rule)}{_TEXTS[rule][0].upper()}{_TEXTS[rule][1:]}" for rule in known)


def notice(why: str) -> bytes:
    """The whole text of the `.txt` file, from a message of `message`."""
    lines = [
        "This file is not shown here. It was kept in the high area, where later actions can still read it.",
        "",
        f"Why, and what to do: {why}",
        "",
        "The job itself succeeded or failed for its own reasons; this notice changes nothing about it.",
        "",
    ]
    return "\n".join(lines).encode("utf-8")


def _id(rule: str) -> str:
    return "" if rule == HELD else f"{rule}: "
