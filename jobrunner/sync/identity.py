"""Names that both sides derive and nobody sends (design.md section 2, threats.md section 6)."""

import base64
import hashlib
import re
import secrets
from typing import Final

_ID_LENGTH: Final = 26
_SLUG_LENGTH: Final = 40


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").lower()[:_ID_LENGTH]


def new_id() -> str:
    """A fresh random id26: 26 characters of lower-case base32, 130 bits."""
    return _base32(secrets.token_bytes(17))


def job_id(request_id: str, action: str) -> str:
    """The id of the job that runs `action` of a job request: base32(sha256(request NUL action))[:26]."""
    return _base32(hashlib.sha256(f"{request_id}\0{action}".encode()).digest())


def branch_slug(branch: str) -> str:
    """A branch name as at most 40 characters of `[a-z0-9-]`, never empty, for people to recognise."""
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return slug or "branch"


def workspace_name(project: str, url: str, branch: str) -> str:
    """`<project>-<branch as slug>-<first 8 hex of sha256(url NUL branch)>`.

    Two branches with the same slug, or two repositories of one project, still get two workspaces.
    """
    digest = hashlib.sha256(f"{url}\0{branch}".encode()).hexdigest()[:8]
    return f"{project}-{branch_slug(branch)}-{digest}"
