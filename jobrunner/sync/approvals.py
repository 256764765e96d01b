"""Approvals as both sides carry them (design.md section 8, threats.md section 6).

The envelope is `{"payload": "<canonical JSON>", "signatures": [armoured]}`. The controller stores and
forwards its text; it cannot make one. Whether the signatures count is decided by the agent alone.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

import rfc8785
from pydantic import Field, StringConstraints

from jobrunner.sync import strict_json
from jobrunner.sync.messages import (
    MAX_APPROVAL_BYTES,
    ActionId,
    BranchName,
    Hex40,
    Malformed,
    Message,
    RepoUrl,
    Seconds,
    Slug,
    parse,
)

NAMESPACE: Final = "jobrunner-approval"
"""Namespace of `ssh-keygen -Y sign`: a signature made for another purpose never counts here."""


class Payload(Message):
    """What a data controller allows: this project, these repositories, these sites, until this second."""

    limit: ClassVar[int] = MAX_APPROVAL_BYTES
    approval_id: Slug
    serial: Annotated[int, Field(ge=1, le=2**31)]
    project: Slug
    sites: Annotated[tuple[Slug, ...], Field(min_length=1, max_length=64)]
    repos: Annotated[tuple[RepoUrl, ...], Field(min_length=1, max_length=32)]
    branches: Annotated[tuple[BranchName, ...], Field(min_length=1, max_length=32)]
    commits: Literal["on_branch"] | Annotated[tuple[Hex40, ...], Field(min_length=1, max_length=200)]
    actions: Literal["all"] | Annotated[tuple[ActionId, ...], Field(min_length=1, max_length=64)]
    database: bool
    datasets: Annotated[tuple[Slug, ...], Field(max_length=64)]
    not_before: Seconds
    not_after: Seconds

    def mismatch(self, *, project: str, repo: str, branch: str, commit: str, action: str) -> str | None:
        """Name of the first field that does not cover the given job, or None when all do."""
        if self.project != project:
            return "project"
        if repo not in self.repos:
            return "repo"
        if branch not in self.branches:
            return "branch"
        if self.commits != "on_branch" and commit not in self.commits:
            return "commit"
        if self.actions != "all" and action not in self.actions:
            return "action"
        return None


class Envelope(Message):
    """A payload, as the exact text that was signed, with its signatures."""

    limit: ClassVar[int] = MAX_APPROVAL_BYTES
    payload: str
    signatures: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1)], ...], Field(min_length=1, max_length=8)
    ]


def canonical(payload: dict[str, Any]) -> str:
    """The payload in canonical form (RFC 8785), the text to be signed."""
    return rfc8785.dumps(payload).decode("utf-8")


def read_envelope(text: str) -> tuple[Envelope, Payload]:
    """Both layers of an approval, checked for shape and canonical form; raises Malformed. No trust yet."""
    envelope = parse(Envelope, text.encode("utf-8", "surrogatepass"))
    raw = envelope.payload.encode("utf-8", "surrogatepass")
    payload = parse(Payload, raw)
    if rfc8785.dumps(strict_json.parse(raw, limit=MAX_APPROVAL_BYTES)) != raw:
        raise Malformed("the payload is not in canonical form")
    return envelope, payload
