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
    # Nearly all names are plain, and looking up each sign takes longer than all the rest.
    if not (part.isascii() and part.isprintable()):
        why = _sign_refused(part)
        if why is not None:
            return why
    if "\\" in part:
        return "its name holds a backslash"
    if part.startswith("-"):
        return "a part of its path begins with `-`"
    if part.endswith((".", " ")):
        return "a part of its path ends with a dot or a space"
    if part.split(".", 1)[0].rstrip(" ").casefold() in _DEVICES:
        return "a part of its path is the name of a device on other systems"
    return None


def _sign_refused(part: str) -> str | None:
    if any(unicodedata.category(sign) in _REFUSED_CATEGORIES for sign in part):
        return "its name holds a control, invisible or unassigned character"
    if not _BLANK.isdisjoint(part):
        return "its name holds a character that looks like nothing"
    if any(unicodedata.category(sign) == "Zs" and sign != " " for sign in part):
        return "its name holds a space that is not the plain one"
    return None


def is_reserved(path: str) -> bool:
    """Whether `path` is `metadata` or lies below it, in any letter case: nothing there is ever matched."""
    first = path.split("/", 1)[0]
    return fold(first) == RESERVED_FIRST_PART


def fold(path: str) -> str:
    """The form in which two paths that some file system cannot tell apart are equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


class Tree:
    """The paths of files in one folder tree, compared as `fold` does."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """One more file, and the folders that it lies in."""
        folded = fold(path)
        self._files.setdefault(folded, path)
        for folder in _folders_of(folded):
            self._folders.setdefault(folder, path)

    def in_the_way_of(self, path: str) -> Iterator[str]:
        """Files of the tree that cannot lie beside `path`.

        Such a file has this path, or one that is equal after `fold`; or one of the two would be a folder
        of the other. For each of these reasons one file is named.
        """
        folded = fold(path)
        if folded in self._files:
            yield self._files[folded]
        if folded in self._folders:
            yield self._folders[folded]
        for folder in _folders_of(folded):
            if folder in self._files:
                yield self._files[folder]

    def has_room_for(self, path: str) -> bool:
        """Whether no file is in the way of `path`."""
        return next(self.in_the_way_of(path), None) is None


def collisions(paths: Iterable[str], taken: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs (path, the other one) that cannot lie in one folder tree.

    Two of `paths`, or one of `paths` and one of `taken`, collide when they are equal after `fold` but not
    the same text, or when one is a folder of the other. Equal texts are no collision here.
    """
    tree = Tree(taken)
    for path in paths:
        for other in tree.in_the_way_of(path):
            if other != path:
                yield path, other
        tree.add(path)


def _folders_of(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        yield path
