"""Symbolic links of a study tree: followed in memory, against the list of the tree, before any is made.

threats.md section 5 item 11.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobrunner.study.errors import TreeRefused
from jobrunner.study.tree import EntryKind

# As many links in a row as Linux follows.
_MAX_HOPS = 40


def check_links(kinds: Mapping[str, EntryKind], targets: Mapping[str, bytes]) -> dict[str, str]:
    """Accept every link of a tree; returns the targets as text.

    Args:
        kinds: every path of the tree.
        targets: for each path of kind LINK, the content of its blob.

    Raises:
        TreeRefused: detail `symlink`: a link that is absolute, leaves the tree on the way, loops, or does
            not end at a file or folder of the tree.
    """
    texts = {path: _as_text(path, target) for path, target in targets.items()}
    for path in texts:
        _follow(path, kinds, texts)
    return texts


def _as_text(path: str, target: bytes) -> str:
    try:
        text = target.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(path, "its target is not UTF-8") from None
    if not text or "\0" in text:
        raise _refused(path, "its target is empty or has a NUL")
    if text.startswith("/"):
        raise _refused(path, "its target is absolute")
    return text


def _follow(path: str, kinds: Mapping[str, EntryKind], targets: Mapping[str, str]) -> None:
    here = path.split("/")[:-1]
    ahead = targets[path].split("/")[::-1]
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise _refused(path, "it leaves the tree")
            here.pop()
            continue
        step = "/".join([*here, part])
        kind = kinds.get(step)
        if kind is None:
            raise _refused(path, "its target is not in the tree")
        if kind is EntryKind.LINK:
            hops += 1
            if hops > _MAX_HOPS:
                raise _refused(path, "it leads through too many links")
            ahead += targets[step].split("/")[::-1]
        elif kind is EntryKind.FOLDER:
            here.append(part)
        elif ahead:
            raise _refused(path, "it goes on below a file")


def _refused(path: str, why: str) -> TreeRefused:
    return TreeRefused("symlink", f"The link {path!a} is refused: {why}.")
