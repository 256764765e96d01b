"""The list of everything in a commit's tree, with every rule that needs no file content.

threats.md section 5 item 9. The raw tree objects are read here instead of `git ls-tree`: so each is compared
with its hash, and a tree that unfolds into millions of entries costs no more than the allowed number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from jobrunner.study.errors import TreeRefused
from jobrunner.study.names import check_name, collision_key
from jobrunner.study.objects import ObjectReader
from jobrunner.study.rules import Limits

_ID_BYTES = 20


class EntryKind(Enum):
    """What an entry is on disk."""

    FOLDER = "folder"
    FILE = "file"
    PROGRAM = "program"
    LINK = "link"


# Everything that git may put into a tree and that we take. 160000, another repository, is not in it.
_MODES = {
    b"40000": EntryKind.FOLDER,
    b"100644": EntryKind.FILE,
    b"100755": EntryKind.PROGRAM,
    b"120000": EntryKind.LINK,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """`path`: parts joined by "/", relative to the root of the tree. `object_id`: 40 hex digits."""

    path: str
    kind: EntryKind
    object_id: str


def walk(reader: ObjectReader, tree: str, limits: Limits) -> list[Entry]:
    """All entries below the root tree `tree`; a folder comes before what is in it.

    Raises:
        TreeRefused: detail `gitlink`, `name`, `collision` or `too_large`.
        MirrorBroken: see `ObjectReader`.
    """
    found: list[Entry] = []
    folders = [("", tree)]
    while folders:
        parent, object_id = folders.pop()
        for entry in read_folder(reader, parent, object_id, limits):
            found.append(entry)
            if len(found) > limits.entries:
                raise TreeRefused("too_large", f"The tree has more than {limits.entries:,} entries.")
            if entry.kind is EntryKind.FOLDER:
                folders.append((entry.path, entry.object_id))
    return found


def read_folder(reader: ObjectReader, parent: str, object_id: str, limits: Limits) -> list[Entry]:
    """The entries of one tree object, whose path is `parent` ("" for the root). Raises as `walk`."""
    # No tree object of an allowed number of entries is longer than this.
    longest = limits.entries * (limits.part_bytes + _ID_BYTES + len("100644 ") + 1)
    entries: list[Entry] = []
    spelled: dict[str, str] = {}
    for mode, raw, child in _parse(reader.read(object_id, "tree", longest), object_id):
        shown = ascii(f"{parent}/{raw[:300].decode('utf-8', 'backslashreplace')}".removeprefix("/"))
        kind = _MODES.get(mode)
        if mode == b"160000":
            raise TreeRefused("gitlink", f"{shown} is another git repository; put its files into this one.")
        if kind is None:
            raise TreeRefused("name", f"{shown} has the mode {mode.decode('latin-1')!a}, which is refused.")
        name = check_name(raw, limits.part_bytes)
        path = f"{parent}/{name}" if parent else name
        if len(path.encode("utf-8")) > limits.path_bytes:
            raise TreeRefused("name", f"The path {shown} is longer than {limits.path_bytes} bytes.")
        if path.count("/") >= limits.depth:
            raise TreeRefused("too_large", f"The path {shown} is deeper than {limits.depth} folders.")
        key = collision_key(name)
        if key in spelled:
            raise TreeRefused(
                "collision",
                f"Some systems cannot keep {spelled[key]!a} and {path!a} apart; rename one of them.",
            )
        spelled[key] = path
        entries.append(Entry(path, kind, child))
    return entries


def _parse(content: bytes, object_id: str) -> Iterator[tuple[bytes, bytes, str]]:
    """Each entry is `<mode> <name>NUL<20 bytes>`."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at)
        end = content.find(b"\0", space)
        following = end + 1 + _ID_BYTES
        if space < 0 or end < 0 or following > len(content):
            raise TreeRefused("name", f"The tree {object_id} is malformed.")
        yield content[at:space], content[space + 1 : end], content[end + 1 : following].hex()
        at = following
