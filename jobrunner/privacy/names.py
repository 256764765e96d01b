"""Which names an output may have: threats.md section 4 item 6.

A name is refused, never changed. The reasons are fixed texts that do not repeat the name.
"""

import unicodedata
from collections.abc import Iterable, Iterator

PART_BYTES = 200
PATH_BYTES = 512
RESERVED_FIRST_PART = "metadata"

# Cc control, Cf format (all bidi signs), Cn unassigned, Cs half of a pair, Co private, Zl and Zp line ends.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"})
# What Unicode counts as a letter, mark or sign and most fonts show as nothing or as a gap: fillers, joiners,
# variation selectors, the empty Braille cell, the empty note head.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"]
)


def why_refused(path: str) -> str | None:
    """Why an output may not be called `path` (relative, split by "/"), or None when it may."""
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid UTF-8"
    if len(raw) > PATH_BYTES:
        return f"its path is longer than {PATH_BYTES} bytes"
    if unicodedata.normalize("NFC", path) != path:
        return "its name is not in Unicode form NFC"
    for part in path.split("/"):
        why = _part_refused(part)
        if why is not None:
            return why
    return None


def _part_refused(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "its path has an empty part, `.` or `..`"
    if len(part.encode("utf-8")) > PART_BYTES:
        return f"a part of its path is longer than {PART_BYTES} bytes"
    if any(unicodedata.category(sign) in _REFUSED_CATEGORIES for sign in part):
        return "its name holds a control, invisible or unassigned character"
    if not _BLANK.isdisjoint(part):
        return "its name holds a character that looks like nothing"
    if any(unicodedata.category(sign) == "Zs" and sign != " " for sign in part):
        return "its name holds a space that is not the plain one"
    if "\\" in part:
        return "its name holds a backslash"
    if part.startswith("-"):
        return "a part of its path begins with `-`"
    if part.endswith((".", " ")):
        return "a part of its path ends with a dot or a space"
    if part.split(".", 1)[0].rstrip(" ").casefold() in _DEVICES:
        return "a part of its path is the name of a device on other systems"
    return None


def is_reserved(path: str) -> bool:
    """Whether `path` is `metadata` or lies below it, in any letter case: nothing there is ever matched."""
    first = path.split("/", 1)[0]
    return fold(first) == RESERVED_FIRST_PART


def fold(path: str) -> str:
    """The form in which two paths that some file system cannot tell apart are equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def collisions(paths: Iterable[str], taken: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs (path, the other one) that cannot lie in one folder tree.

    Two of `paths`, or one of `paths` and one of `taken`, collide when they are equal after `fold` but not
    the same text, or when one is a folder of the other. Equal texts are no collision here.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for new, path in [(False, path) for path in taken] + [(True, path) for path in paths]:
        folded = fold(path)
        if new and files.get(folded, path) != path:
            yield path, files[folded]
        if new and folded in folders:
            yield path, folders[folded]
        files.setdefault(folded, path)
        while "/" in folded:
            folded = folded.rsplit("/", 1)[0]
            if new and folded in files:
                yield path, files[folded]
            folders.setdefault(folded, path)
