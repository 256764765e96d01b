"""Why a commit cannot be had: the reasons of a refused job, and the one reason to try again.

The words are closed lists: `reason` is sent to the controller (design.md section 5), `detail` stays in the
local journal (threats.md section 6), `message` is for the operator alone. A message never holds text that
came from the git host, since a host may send back what it was sent.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class IntakeError(Exception):
    """A commit, or its tree, cannot be used. Raised only as one of its subclasses.

    Attributes:
        reason: word of design.md section 5.
        detail: word of threats.md section 6, or "".
        message: one or two sentences for the operator.
    """

    reason: ClassVar[str]

    def __init__(self, detail: str, message: str) -> None:
        super().__init__(message)
        self.detail = detail
        self.message = message


class RepositoryNotAllowed(IntakeError):
    """The address of the repository is malformed, or the site's policy does not name it."""

    reason = "repository_not_allowed"

    def __init__(self, detail: Literal["url", "host", "protocol", "address"], message: str) -> None:
        super().__init__(detail, message)


class CommitNotFound(IntakeError):
    """The host says that it has no such branch, or the branch does not hold that commit at all."""

    reason = "commit_not_found"

    def __init__(self, detail: Literal["branch", "commit"], message: str) -> None:
        super().__init__(detail, message)


class TagNotFound(IntakeError):
    """The host says that it has no such tag, or the tag names something else than a commit."""

    reason = "commit_not_found"

    def __init__(self, message: str) -> None:
        super().__init__("commit", message)


class CommitNotOnBranch(IntakeError):
    """The commit is known, but the tip of the branch does not descend from it."""

    reason = "commit_not_on_branch"

    def __init__(self, message: str) -> None:
        super().__init__("", message)


class TreeRefused(IntakeError):
    """The tree of the commit, or what had to be fetched for it, breaks a rule of threats.md section 5."""

    reason = "tree_refused"

    def __init__(
        self,
        detail: Literal["gitlink", "symlink", "name", "collision", "too_large", "timeout"],
        message: str,
    ) -> None:
        super().__init__(detail, message)


class PipelineMissing(IntakeError):
    """There is no project.yaml at the root of that commit."""

    reason = "pipeline_invalid"

    def __init__(self, message: str) -> None:
        super().__init__("missing", message)


class Unreachable(IntakeError):
    """No usable answer from the host, or a damaged mirror. Says nothing about the commit: retry."""

    reason = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__("unreachable", message)


class MirrorBroken(Unreachable):
    """The local mirror does not hold what it must hold. It is made again at the next use."""
