"""What is public of an approval: what it allows, until when, and which keys signed it.

Whether a signature counts is judged inside the data centre. Here it is only read, so that people can compare.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from jobrunner.controller.projects.models import Approval, Project
from jobrunner.sync.approvals import read_envelope
from jobrunner.sync.ssh_signatures import signer_fingerprint

_SHOWN: Final = 20
# The last second that a date can be written for; approvals count further than that.
_LAST_SECOND: Final = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 1


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """One approval. `signers` are fingerprints as `ssh-keygen -l` prints them, or "" for one not readable.

    Empty `commits` stand for every commit on the branches, empty `actions` for all actions.
    """

    approval_id: str
    serial: int
    digest: str
    sites: tuple[str, ...]
    repos: tuple[str, ...]
    branches: tuple[str, ...]
    commits: tuple[str, ...]
    actions: tuple[str, ...]
    database: bool
    datasets: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    received_at: datetime
    signers: tuple[str, ...]
    standing: str

    @property
    def is_in_force(self) -> bool:
        """Whether its dates cover this moment and no newer one stands in its place."""
        return self.standing == "in date"


def approvals_of(project: Project, *, now: datetime) -> tuple[ApprovalFacts, ...]:
    """The newest approvals of a project, the highest serial first."""
    rows = project.approvals.order_by("-serial", "-pk")[:_SHOWN]
    replaced: set[str] = set()
    found = []
    for row in rows:
        facts = _facts(row, now, replaced)
        replaced.update(facts.sites)
        found.append(facts)
    return tuple(found)


def approval_for(project: Project, backend: str, *, at: datetime, now: datetime) -> ApprovalFacts | None:
    """The approval for a backend that was on file at a moment: the highest serial received until then."""
    rows = project.approvals.filter(sites__backend=backend, received_at__lte=at)
    row = rows.order_by("-serial", "-pk").first()
    return None if row is None else _facts(row, now, _replaced_sites(row, backend))


def _replaced_sites(row: Approval, backend: str) -> set[str]:
    newer = Approval.objects.filter(project=row.project_id, sites__backend=backend, serial__gt=row.serial)
    return {backend} if newer.exists() else set()


def _facts(row: Approval, now: datetime, replaced: Iterable[str]) -> ApprovalFacts:
    envelope, payload = read_envelope(row.envelope)
    return ApprovalFacts(
        approval_id=payload.approval_id,
        serial=payload.serial,
        digest=row.digest,
        sites=payload.sites,
        repos=payload.repos,
        branches=payload.branches,
        commits=() if payload.commits == "on_branch" else tuple(payload.commits),
        actions=() if payload.actions == "all" else tuple(payload.actions),
        database=payload.database,
        datasets=payload.datasets,
        not_before=_moment(payload.not_before),
        not_after=_moment(payload.not_after),
        received_at=row.received_at,
        signers=tuple(signer_fingerprint(signature) for signature in envelope.signatures),
        standing=_standing(payload.not_before, payload.not_after, payload.sites, now, replaced),
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC)


def _standing(
    not_before: int, not_after: int, sites: tuple[str, ...], now: datetime, replaced: Iterable[str]
) -> str:
    if set(sites) <= set(replaced):
        return "replaced by a newer one"
    if now.timestamp() < not_before:
        return "not valid yet"
    return "expired" if now.timestamp() > not_after else "in date"
