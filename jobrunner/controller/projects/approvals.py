"""Approvals as the controller keeps them: stored as received, looked up, never judged by their signatures."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from jobrunner.controller.prepared import Given, Prepared
from jobrunner.controller.projects.models import Approval, ApprovalSite, Project
from jobrunner.sync.approvals import Payload, read_envelope
from jobrunner.sync.messages import Malformed


class ApprovalProblem(ValueError):
    """An approval that cannot be stored; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class NotCovered:
    """Why no approval covers what is asked: a reason of design.md section 5 and a sentence."""

    id: Literal["approval_missing", "approval_expired", "approval_invalid"]
    message: str


def store(text: str, *, now: datetime) -> tuple[Approval, bool]:
    """Keep an approval's envelope; the second value is False when it was stored before.

    Raises ApprovalProblem for text that is no approval, an unknown project, or a serial that agents refuse.
    """
    try:
        _, payload = read_envelope(text)
    except Malformed as error:
        raise ApprovalProblem(f"This is no approval: {error}. Pass the signed file unchanged.") from error
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    with transaction.atomic():
        # One at a time for each project, or two serials could pass each other.
        project = Project.objects.select_for_update(no_key=True).filter(slug=payload.project).first()
        if project is None:
            raise ApprovalProblem(
                f"There is no project `{payload.project}`. Make it: jobrunner controller create-project."
            )
        known = Approval.objects.filter(digest=digest).first()
        if known is not None:
            return known, False
        _check_serial(project, payload)
        approval = Approval.objects.create(
            project=project,
            digest=digest,
            envelope=text,
            approval_id=payload.approval_id,
            serial=payload.serial,
            not_before=payload.not_before,
            not_after=payload.not_after,
            received_at=now,
        )
        ApprovalSite.objects.bulk_create(
            [ApprovalSite(approval=approval, backend=site) for site in dict.fromkeys(payload.sites)]
        )
    return approval, True


def _check_serial(project: Project, payload: Payload) -> None:
    newer = Approval.objects.filter(
        project=project, sites__backend__in=payload.sites, serial__gt=payload.serial
    ).first()
    if newer is not None:
        raise ApprovalProblem(
            f"Serial {newer.serial} of project `{project.slug}` is stored already, so agents would refuse "
            f"serial {payload.serial}. Sign it again with a higher serial."
        )


# The only one that an agent still accepts: the one with the highest serial.
_NEWEST: Final = Prepared(
    lambda project, backend: Approval.objects.filter(project=project, sites__backend=backend).order_by(
        "-serial", "-pk"
    )[:1]
)


def newest_envelopes(projects: Collection[int], backend: str) -> dict[int, str | None]:
    """The text to send along with an offer, by the key of its project, in one query."""
    return dict(_NEWEST_ENVELOPES.rows(tuple(projects), backend))


def _newest_envelopes(projects: Any, backend: Given) -> QuerySet[Project, Any]:
    mine = Approval.objects.filter(project=OuterRef("pk"), sites__backend=backend)
    newest = Subquery(mine.order_by("-serial", "-pk").values("envelope")[:1])
    return Project.objects.filter(pk__in=projects).annotate(envelope=newest).values_list("pk", "envelope")


_NEWEST_ENVELOPES: Final = Prepared(_newest_envelopes)


def not_covered(
    project: Project,
    *,
    backend: str,
    repo: str,
    branch: str,
    commit: str,
    actions: tuple[str, ...],
    now: datetime,
) -> NotCovered | None:
    """Why the newest approval does not cover these actions, or None when it does.

    An early answer for people. The agent alone decides, and it checks the signatures too.
    """
    approval = _NEWEST.first(project.pk, backend)
    if approval is None:
        return NotCovered(
            "approval_missing",
            f"Project `{project.slug}` has no approval for `{backend}`. Ask its data controller for one.",
        )
    _, payload = read_envelope(approval.envelope)
    seconds = int(now.timestamp())
    if seconds < payload.not_before:
        return NotCovered("approval_expired", f"Approval `{payload.approval_id}` is not valid yet.")
    if seconds > payload.not_after:
        return NotCovered(
            "approval_expired",
            f"Approval `{payload.approval_id}` has expired. Ask the data controller for a new one.",
        )
    for action in actions:
        field = payload.mismatch(project=project.slug, repo=repo, branch=branch, commit=commit, action=action)
        if field is not None:
            what = f"action `{action}`" if field == "action" else f"this {field}"
            return NotCovered(
                "approval_invalid",
                f"Approval `{payload.approval_id}` does not cover {what}. Ask for one that does.",
            )
    return None
