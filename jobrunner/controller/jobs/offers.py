"""Which jobs an agent may claim next, and which it must stop."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from django.db import transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from jobrunner.controller.jobs import wake
from jobrunner.controller.jobs.leases import Terms, claimable
from jobrunner.controller.jobs.lifecycle import Overtaken, move, move_all, settle
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import Situation, State, Wait
from jobrunner.controller.projects.approvals import newest_envelope
from jobrunner.controller.projects.models import Backend
from jobrunner.sync.messages import MAX_OFFERS, MAX_REPLY_BYTES, Cancel, Offer

_MAX_CANCELS: Final = 64
_MARKED_AT_ONCE: Final = 500
_ROOM_FOR_OFFERS: Final = MAX_REPLY_BYTES - 32 * 1024
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def offers_for(agent: Backend, *, now: datetime, terms: Terms) -> tuple[Offer, ...]:
    """At most 16 jobs of this backend that fit its free places, shared fairly between workspaces."""
    if agent.paused:
        return ()
    chosen = [
        *_fair_pick(agent, is_database=True, places=agent.free_db, now=now, terms=terms),
        *_fair_pick(agent, is_database=False, places=agent.free_plain, now=now, terms=terms),
    ]
    return _as_offers(agent, sorted(chosen, key=lambda job: job.pk)[:MAX_OFFERS])


def _fair_pick(
    agent: Backend, *, is_database: bool, places: int, now: datetime, terms: Terms
) -> Sequence[Job]:
    """Round robin by workspace, oldest first inside; who runs least and waited longest comes first."""
    wanted = min(places, MAX_OFFERS)
    if wanted == 0:
        return []
    turn = Window(RowNumber(), partition_by=F("workspace_id"), order_by="pk")
    candidates = list(
        Job.objects.filter(claimable(now, terms), backend=agent, is_database=is_database)
        .annotate(turn=turn)
        .filter(turn__lte=wanted)
        .select_related("workspace__project", "request")
    )
    running = Counter(
        Job.objects.filter(backend=agent, state=State.RUNNING.value).values_list("workspace_id", flat=True)
    )
    candidates.sort(
        key=lambda job: (
            job.turn + running[job.workspace_id],
            job.workspace.last_served_at or _NEVER,
            job.pk,
        )
    )
    return candidates[:wanted]


def _as_offers(agent: Backend, jobs: Iterable[Job]) -> tuple[Offer, ...]:
    envelopes: dict[int, str | None] = {}
    offers: list[Offer] = []
    room = _ROOM_FOR_OFFERS
    for job in jobs:
        workspace = job.workspace
        if workspace.project_id not in envelopes:
            envelopes[workspace.project_id] = newest_envelope(workspace.project, agent.slug)
        offer = Offer(
            request_id=job.request.request_id,
            project=workspace.project.slug,
            repo=workspace.repo,
            branch=workspace.branch,
            commit=job.request.commit,
            action=job.action,
            approval=envelopes[workspace.project_id],
        )
        room -= len(offer.to_bytes())
        if room < 0:
            break
        offers.append(offer)
    return tuple(offers)


def cancels_for(agent: Backend) -> tuple[Cancel, ...]:
    """Running attempts of this backend that shall stop."""
    wished = Job.objects.filter(backend=agent, state=State.RUNNING.value).exclude(cancel_reason="")
    return tuple(
        Cancel(job_id=job_id, attempt=attempt)
        for job_id, attempt in wished.order_by("pk").values_list("job_id", "attempt")[:_MAX_CANCELS]
    )


def tidy(agent: Backend, offered: Iterable[Offer], *, accepting: bool, now: datetime, terms: Terms) -> None:
    """What a look at the queue makes certain: who waits for a free place, and whose cancelled run is lost."""
    _end_lost_cancelled_runs(agent, now, terms)
    if accepting and not agent.paused:
        _mark_waiting_for_capacity(agent, offered, now)


def _end_lost_cancelled_runs(agent: Backend, now: datetime, terms: Terms) -> None:
    """A run that shall stop and whose lease ran out is given to nobody any more, so it ends here."""
    limit = terms.lapse_limit(now)
    if limit is None:
        return
    lost = Job.objects.filter(backend=agent, state=State.RUNNING.value, lease_expires_at__lt=limit)
    for job in lost.exclude(cancel_reason=""):
        with transaction.atomic():
            try:
                move(job, Situation(State.CANCELLED, job.cancel_reason), now=now)
            except Overtaken:
                continue
            settle([job], now=now)
            wake.changed(agent.pk)


def _mark_waiting_for_capacity(agent: Backend, offered: Iterable[Offer], now: datetime) -> None:
    asked = {(offer.request_id, offer.action) for offer in offered}
    waiting = Job.objects.filter(
        backend=agent, state=State.PENDING.value, reason=Wait.WAITING_FOR_AGENT.value
    ).select_related("request")
    left_out = [
        job
        for job in waiting.order_by("pk")[:_MARKED_AT_ONCE]
        if (job.request.request_id, job.action) not in asked
    ]
    if not left_out:
        return
    with suppress(Overtaken):
        # Somebody claimed or cancelled one meanwhile: the next look marks the others.
        move_all(left_out, Situation(State.PENDING, Wait.WAITING_FOR_CAPACITY.value), now=now)
