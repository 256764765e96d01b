"""Names that git must never read as anything else: a branch and a commit.

threats.md section 5 item 2. A branch is used only inside `refs/heads/<branch>`, a commit only as 40 hex
digits, and both are checked here before any process starts.
"""

from __future__ import annotations

import re

from jobrunner.study.errors import CommitNotFound

MAX_BRANCH_BYTES = 200
# Shorter than git's own list on purpose: no `~ ^ : ? * [ \ {`, no space, nothing outside ASCII.
_BRANCH = re.compile(r"[A-Za-z0-9._+#@=,/-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_branch(name: str) -> None:
    """Accept `name` as a branch, by a subset of what `git check-ref-format` accepts.

    Raises:
        CommitNotFound: detail `branch`.
    """
    parts = name.split("/")
    if (
        len(name) > MAX_BRANCH_BYTES
        or not _BRANCH.fullmatch(name)
        or name.startswith("-")
        or name == "@"
        or ".." in name
        or any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    ):
        shown = ascii(name[:MAX_BRANCH_BYTES])
        raise CommitNotFound("branch", f"{shown} is not a branch name that this site accepts.")


def check_commit(sha: str) -> None:
    """Accept `sha` as a whole commit id: 40 lower-case hex digits.

    Raises:
        CommitNotFound: detail `commit`.
    """
    if not _COMMIT.fullmatch(sha):
        raise CommitNotFound("commit", f"{sha[:80]!a} is not a commit id of 40 lower-case hex digits.")
