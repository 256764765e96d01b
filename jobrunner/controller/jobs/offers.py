"""Which jobs an agent may claim next, and which it must stop."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from jobrunner.controller.jobs import queue, turns, wake
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.lifecycle import move, move_all
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.settling import settle
from jobrunner.controller.jobs.transitions import Situation, State, Wait
from jobrunner.controller.prepared import Given, Prepared
from jobrunner.controller.projects.approvals import newest_envelopes
from jobrunner.controller.projects.models import Backend
from jobrunner.sync import identity
from jobrunner.sync.messages import MAX_OFFERS, MAX_REPLY_BYTES, Cancel, Offer

_MAX_CANCELS: Final = 64
_MARKED_AT_ONCE: Final = 500
_COLUMNS: Final = (
    "pk",
    "workspace__project",
    "workspace__project__slug",
    "workspace__repo",
    "workspace__branch",
    "request__request_id",
    "request__commit",
    "action",
)
_OFFERED: Final = Prepared(lambda keys: Job.objects.filter(pk__in=keys).values_list(*_COLUMNS))
_ROOM_FOR_OFFERS: Final = MAX_REPLY_BYTES - 32 * 1024


def look(
    agent: Backend, *, accepting: bool, now: datetime, terms: Terms
) -> tuple[tuple[Offer, ...], tuple[Cancel, ...]]:
    """What there is to tell the agent: offers, none unless it is `accepting`, and what it must stop.

    What a look at the queue makes certain is noted: who waits for a free place, and whose cancelled run is
    lost.
    """
    running = queue.runs(agent, now=now, terms=terms)
    if any(run.over and run.wished for run in running):
        _end_lost_cancelled_runs(agent, now, terms)
        running = queue.runs(agent, now=now, terms=terms)
    offered: tuple[Offer, ...] = ()
    if accepting and not agent.paused:
        ready = queue.lines(agent, now=now, terms=terms)
        offered = _offers(agent, ready, running, now, terms)
        if any(line.reason == Wait.WAITING_FOR_AGENT for line in ready):
            _mark_waiting_for_capacity(agent, offered, now)
    return offered, _cancels(running)


def after_events(
    agent: Backend, *, ended: bool, now: datetime, terms: Terms
) -> tuple[tuple[Offer, ...], tuple[Cancel, ...]]:
    """What the answer to events carries: cancels, and offers when a job `ended`, since its place is free."""
    running = queue.runs(agent, now=now, terms=terms)
    offered: tuple[Offer, ...] = ()
    if ended and not agent.paused:
        offered = _offers(agent, queue.lines(agent, now=now, terms=terms), running, now, terms)
    return offered, _cancels(running)


def cancels_for(agent: Backend, *, now: datetime, terms: Terms) -> tuple[Cancel, ...]:
    """Running attempts of this backend that shall stop."""
    return _cancels(queue.runs(agent, now=now, terms=terms))


def _offers(
    agent: Backend,
    ready: Sequence[queue.Line],
    running: Sequence[queue.Run],
    now: datetime,
    terms: Terms,
) -> tuple[Offer, ...]:
    """At most 16 jobs of this backend that fit its free places, shared fairly between workspaces, in turn."""
    keys = queue.pick(agent, ready, running, most=MAX_OFFERS, now=now, terms=terms)
    if not keys:
        return ()
    rows = {row[0]: row[1:] for row in _OFFERED.rows(tuple(keys))}
    return _as_offers(agent, [rows[key] for key in keys if key in rows])


def _as_offers(agent: Backend, rows: Sequence[tuple[Any, ...]]) -> tuple[Offer, ...]:
    envelopes = newest_envelopes({key for key, *_ in rows}, agent.slug)
    offers: list[Offer] = []
    room = _ROOM_FOR_OFFERS
    for key, project, repo, branch, request_id, commit, action in rows:
        offer = Offer(
            request_id=request_id,
            project=project,
            repo=repo,
            branch=branch,
            commit=commit,
            action=action,
            approval=envelopes[key],
        )
        room -= len(offer.to_bytes())
        if room < 0:
            break
        offers.append(offer)
    return tuple(offers)


def _cancels(running: Iterable[queue.Run]) -> tuple[Cancel, ...]:
    wished = [Cancel(job_id=run.job_id, attempt=run.attempt) for run in running if run.wished]
    return tuple(wished[:_MAX_CANCELS])


def _end_lost_cancelled_runs(agent: Backend, now: datetime, terms: Terms) -> None:
    """A run that shall stop and whose lease ran out is given to nobody any more, so it ends here."""
    limit = terms.lapse_limit(now)
    if limit is None:
        return
    lost = queue.active(agent, State.RUNNING).filter(lease_expires_at__lt=limit).exclude(cancel_reason="")
    with transaction.atomic():
        turns.take(agent.pk)
        ended = list(lost)
        for job in ended:
            move(job, Situation(State.CANCELLED, job.cancel_reason), now=now)
        settle(ended, now=now)
        wake.changed(agent.pk)


def _mark_waiting_for_capacity(agent: Backend, offered: Iterable[Offer], now: datetime) -> None:
    asked = [identity.job_id(offer.request_id, offer.action) for offer in offered]
    if not _ANY_LEFT_OUT.rows(agent.pk, tuple(asked)):
        return
    with transaction.atomic():
        turns.take(agent.pk)
        found = list(_left_out(agent, asked)[:_MARKED_AT_ONCE])
        move_all(found, Situation(State.PENDING, Wait.WAITING_FOR_CAPACITY.value), now=now)


def _left_out(agent: Backend | Given, asked: Any) -> QuerySet[Job]:
    return queue.waiting(agent, Wait.WAITING_FOR_AGENT).exclude(job_id__in=asked)


_ANY_LEFT_OUT: Final = Prepared(lambda agent, asked: _left_out(agent, asked).values_list("pk")[:1])
