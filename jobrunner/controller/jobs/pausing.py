"""Pausing a backend: nothing new starts there; what runs goes on."""

from datetime import datetime
from typing import Final

from django.db import transaction

from jobrunner.controller.jobs import queue, turns, wake
from jobrunner.controller.jobs.lifecycle import move_all
from jobrunner.controller.jobs.transitions import Situation, State, Wait
from jobrunner.controller.projects.models import Backend

_STOPPED_BY_PAUSE: Final = (Wait.WAITING_FOR_AGENT.value, Wait.WAITING_FOR_CAPACITY.value)


def set_paused(backend: Backend, paused: bool, *, now: datetime) -> None:
    """Pause the backend or let it go on; its waiting jobs say so."""
    before = _STOPPED_BY_PAUSE if paused else (Wait.PAUSED.value,)
    after = Wait.PAUSED if paused else Wait.WAITING_FOR_AGENT
    with transaction.atomic():
        turns.take(backend.pk)
        Backend.objects.filter(pk=backend.pk).update(paused=paused)
        backend.paused = paused
        waiting = queue.active(backend, State.PENDING).filter(reason__in=before)
        move_all(list(waiting), Situation(State.PENDING, after.value), now=now)
        wake.changed(backend.pk)


def what_runs(backend: Backend) -> list[str]:
    """For the operator: project, action, stage and request of each job that runs there, oldest first."""
    running = queue.active(backend, State.RUNNING).select_related("request__project").order_by("pk")
    return [
        f"{job.request.project.slug}  {job.action}  {job.reason}  request {job.request.request_id}"
        for job in running
    ]


def how_many_wait(backend: Backend) -> int:
    """Jobs there that have not begun."""
    return queue.active(backend, State.PENDING).count()
