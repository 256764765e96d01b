"""Names that git must never read as anything else: a branch, a tag and a commit.

threats.md section 5 item 2. A branch is used only inside `refs/heads/<branch>`, a tag only inside
`refs/tags/<tag>`, a commit only as 40 hex digits, and all are checked here before any process starts.
"""

from __future__ import annotations

import re

from jobrunner.study.errors import CommitNotFound, TagNotFound

MAX_BRANCH_BYTES = 200
# Shorter than git's own list on purpose: no `~ ^ : ? * [ \ {`, no space, nothing outside ASCII.
_BRANCH = re.compile(r"[A-Za-z0-9._+#@=,/-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_branch(name: str) -> None:
    """Accept `name` as a branch, by a subset of what `git check-ref-format` accepts.

    Raises:
        CommitNotFound: detail `branch`.
    """
    if not _is_plain(name):
        shown = ascii(name[:MAX_BRANCH_BYTES])
        raise CommitNotFound("branch", f"{shown} is not a branch name that this site accepts.")


def check_tag(name: str) -> None:
    """Accept `name` as a tag, by the same rules as a branch.

    Raises:
        TagNotFound: no such tag can exist.
    """
    if not _is_plain(name):
        raise TagNotFound(f"{name[:MAX_BRANCH_BYTES]!a} is not a tag name that this site accepts.")


def check_commit(sha: str) -> None:
    """Accept `sha` as a whole commit id: 40 lower-case hex digits.

    Raises:
        CommitNotFound: detail `commit`.
    """
    if not _COMMIT.fullmatch(sha):
        raise CommitNotFound("commit", f"{sha[:80]!a} is not a commit id of 40 lower-case hex digits.")


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return not (
        len(name) > MAX_BRANCH_BYTES
        or not _BRANCH.fullmatch(name)
        or name.startswith("-")
        or name == "@"
        or ".." in name
        or any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    )
