"""What agents report: each signed event is applied once, kept as it came, and never revives a job."""

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from jobrunner.controller.jobs import turns
from jobrunner.controller.jobs.leases import check_token, find, give_place_back
from jobrunner.controller.jobs.lifecycle import move_along, situation
from jobrunner.controller.jobs.models import Job, Receipt
from jobrunner.controller.jobs.refusals import FORBIDDEN, MALFORMED, OTHER_BODY, STALE, Refused
from jobrunner.controller.jobs.settling import settle
from jobrunner.controller.jobs.transitions import FINAL, STAGES, Situation, State, Wait
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.prepared_writes import PreparedInsert
from jobrunner.controller.projects.models import Backend
from jobrunner.sync.messages import MAX_EVENT_BYTES, Event, Events
from jobrunner.sync.signing import signature_fits
from jobrunner.sync.vocabulary import MAX_ATTEMPTS, ExitClass, Reason, Stage

_STORED: Final = Prepared(
    lambda backend, ids: Receipt.objects.filter(backend=backend, event_id__in=ids).values_list(
        "event_id", "body"
    )
)
_RECEIPTS: Final = PreparedInsert(
    Receipt, "backend_id", "event_id", "job_id", "attempt", "body", "received_at", "applied"
)
_STATE_OF: Final = {
    ExitClass.SUCCEEDED: State.SUCCEEDED,
    ExitClass.FAILED: State.FAILED,
    ExitClass.REFUSED: State.REFUSED,
    ExitClass.CANCELLED: State.CANCELLED,
}


def receive(agent: Backend, batch: Events, token: str | None, *, now: datetime) -> Backend:
    """Store a batch of one attempt and apply what is new, all or nothing; returns the agent as it is then.

    An event that is already stored changes nothing. Raises Refused for another backend's job, a token or
    signature that does not fit, a known event id with another body, and an attempt that is not the newest.
    """
    first = batch.events[0]
    for event in batch.events:
        if len(event.to_bytes()) > MAX_EVENT_BYTES:
            raise Refused(MALFORMED)
        if not signature_fits(agent.public_key, event):
            raise Refused(FORBIDDEN)
    with transaction.atomic():
        agent = turns.take(agent.pk)
        turns.note_seen(agent, now=now)
        job = find(agent, first.job_id)
        check_token(agent, job, first.attempt, token, now=now)
        fresh = _not_yet_stored(agent, batch.events)
        if fresh and first.attempt != job.attempt:
            raise Refused(STALE)
        steps: list[Situation] = []
        receipts: list[tuple[Any, ...]] = []
        for event in fresh:
            step = _step(job, steps[-1] if steps else situation(job), event)
            if step is not None:
                steps.append(step)
            receipts.append(
                (
                    agent.pk,
                    event.event_id,
                    job.pk,
                    event.attempt,
                    event.model_dump_json(),
                    now,
                    step is not None,
                )
            )
        move_along(job, steps, now=now)
        _RECEIPTS.add(receipts)
        if steps and job.state != State.RUNNING:
            give_place_back(agent, job)
            if job.state in FINAL:
                # Nobody is woken: the answer to this very call carries what may start now.
                settle([job], now=now)
    return agent


def _not_yet_stored(agent: Backend, events: tuple[Event, ...]) -> list[Event]:
    """The events that are new, each once, in order."""
    bodies: dict[str, str] = dict(_STORED.rows(agent.pk, tuple(event.event_id for event in events)))
    fresh = []
    for event in events:
        body = event.model_dump_json()
        if event.event_id not in bodies:
            bodies[event.event_id] = body
            fresh.append(event)
        elif bodies[event.event_id] != body:
            raise Refused(OTHER_BODY)
    return fresh


def _step(job: Job, at: Situation, event: Event) -> Situation | None:
    """What the event makes of the job, which is `at` when it comes; None when it says nothing new."""
    if at.state is not State.RUNNING:
        return None
    if event.stage is Stage.ENDED:
        return _end(job, event)
    if STAGES.index(event.reason.value) <= STAGES.index(at.reason):
        return None
    return Situation(State.RUNNING, event.reason.value)


def _end(job: Job, event: Event) -> Situation:
    if event.exit_class is None:
        raise Refused(MALFORMED)
    if event.exit_class is ExitClass.CANCELLED:
        return Situation(State.CANCELLED, _who_cancelled(job, event))
    if event.reason is Reason.INTERNAL_ERROR and job.cancel_reason:
        return Situation(State.CANCELLED, job.cancel_reason)
    if event.reason is Reason.INTERNAL_ERROR and job.tries < MAX_ATTEMPTS:
        return Situation(State.PENDING, Wait.RETRYING.value)
    return Situation(_STATE_OF[event.exit_class], event.reason.value)


def _who_cancelled(job: Job, event: Event) -> str:
    """An agent does not know who asked. What nobody here asked for was the site's own doing."""
    if event.reason is Reason.BY_SITE or not job.cancel_reason:
        return Reason.BY_SITE.value
    return job.cancel_reason
