"""Cancelling: a waiting job ends at once, a running one gets the wish and ends when its agent says so."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from jobrunner.controller.accounts.models import Person
from jobrunner.controller.jobs import turns, wake
from jobrunner.controller.jobs.lifecycle import move_all
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.settling import settle
from jobrunner.controller.jobs.transitions import Situation, State
from jobrunner.sync.vocabulary import Reason


def cancel_request(request: JobRequest, person: Person | None, *, now: datetime) -> int:
    """Cancel all jobs of a request that have not ended; returns how many that concerns.

    `person` is who asked; None stands for the operator of the controller. A finished job stays finished.
    """
    reason = Reason.BY_CONTROLLER if person is None else Reason.BY_REQUESTER
    with transaction.atomic():
        turns.take(request.backend_id)
        jobs = request.jobs.filter(finished_at=None)
        waiting = list(jobs.filter(state=State.PENDING.value))
        running = jobs.filter(state=State.RUNNING.value, cancel_reason="")
        wished = running.update(cancel_reason=reason.value, cancelled_by=person)
        _end(waiting, reason, person, now)
        if waiting or wished:
            wake.changed(request.backend_id)
        return len(waiting) + wished


def _end(jobs: Iterable[Job], reason: Reason, person: Person | None, now: datetime) -> None:
    ended = list(jobs)
    cancelled = Situation(State.CANCELLED, reason.value)
    who = None if person is None else person.pk
    move_all(ended, cancelled, now=now, cancel_reason=reason.value, cancelled_by_id=who)
    settle(ended, now=now)
