"""Which names a study tree may use: one spelling on every file system, and no trap for people or programs.

threats.md section 4 item 6, with the exceptions of section 5 item 9: a leading dot and a folder `metadata`
are fine here.
"""

from __future__ import annotations

import re
import unicodedata

from jobrunner.study.errors import TreeRefused

# Control, format (so bidirectional and ignorable signs too), surrogate, unassigned, line and paragraph end.
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
# What Unicode counts as a letter, mark or sign and most fonts show as nothing or as a gap: fillers, joiners,
# variation selectors, the empty Braille cell, the empty note head.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
# What some file system takes for a repository's own folder, after folding.
_GIT_FOLDER = re.compile(r"(\.git|git~[0-9]+)[ .]*(:.*)?")
# What some systems take for a device, with any suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9])[ .]*([.:].*)?")


def check_name(raw: bytes, limit: int) -> str:
    """Accept one part of a path, at most `limit` bytes; returns it as text.

    Raises:
        TreeRefused: detail `name`.
    """
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(raw, "it is not UTF-8") from None
    if not raw or len(raw) > limit:
        raise _refused(raw, f"it has {len(raw)} bytes; 1 to {limit} are allowed")
    if name in (".", "..") or "/" in name or "\\" in name:
        raise _refused(raw, "it would lead to another folder")
    if any(unicodedata.category(character) in _BAD_CATEGORIES for character in name):
        raise _refused(raw, "it has a character that cannot be seen")
    if not _BLANK.isdisjoint(name):
        raise _refused(raw, "it has a character that looks like nothing")
    if any(unicodedata.category(character) == "Zs" and character != " " for character in name):
        raise _refused(raw, "it has a space that is not the plain one")
    if unicodedata.normalize("NFC", name) != name:
        raise _refused(raw, "it is not in Unicode's composed form (NFC)")
    if name.startswith("-"):
        raise _refused(raw, "a program would take it for an option")
    if name.endswith((".", " ")):
        raise _refused(raw, "it ends with a dot or a space")
    if is_git_folder(name):
        raise _refused(raw, "it looks like git's own folder")
    if _DEVICE.fullmatch(look(name)):
        raise _refused(raw, "some systems take it for a device")
    return name


def look(name: str) -> str:
    """Equal for names that look alike, or that some file system takes for one: width and case are folded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def is_git_folder(name: str) -> bool:
    """Whether some file system takes this part of a path for a repository's own folder."""
    return _GIT_FOLDER.fullmatch(look(name)) is not None


def collision_key(name: str) -> str:
    """Equal for two names that some file system cannot keep apart: case and composition are folded."""
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", folded)


def _refused(raw: bytes, why: str) -> TreeRefused:
    shown = ascii(raw[:300].decode("utf-8", "backslashreplace"))
    return TreeRefused("name", f"The name {shown} is refused: {why}.")
