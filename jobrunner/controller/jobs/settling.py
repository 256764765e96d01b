"""What the end of a job means for those that wait for it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, OuterRef, QuerySet

from jobrunner.controller.jobs.lifecycle import chunks, first_wait, move_all
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import DEPENDENCY_FAILED, Situation, State, Wait
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.projects.models import Backend


def settle(jobs: Iterable[Job], *, now: datetime) -> None:
    """Move on the jobs that waited for these, which have ended; a failure reaches all that depend on it.

    Call in the transaction in which the jobs ended.
    """
    ended = list(jobs)
    _release([job for job in ended if job.state == State.SUCCEEDED], now)
    blocked = _blocked_by([job for job in ended if job.state != State.SUCCEEDED])
    move_all(blocked, Situation(State.FAILED, DEPENDENCY_FAILED), now=now)


def _release(succeeded: Sequence[Job], now: datetime) -> None:
    for some in chunks(succeeded):
        by_backend: dict[int, list[Job]] = {}
        for job in _READY.all(tuple(job.pk for job in some)):
            by_backend.setdefault(job.backend_id, []).append(job)
        for backend in _BACKENDS.all(tuple(by_backend)):
            after = Situation(State.PENDING, first_wait(backend).value)
            move_all(by_backend[backend.pk], after, now=now)


def _ready(succeeded: Any) -> QuerySet[Job]:
    unmet = Job.objects.filter(dependents=OuterRef("pk")).exclude(state=State.SUCCEEDED.value)
    return _waiting_for(succeeded).exclude(Exists(unmet))


_READY: Final = Prepared(_ready)
_BACKENDS: Final = Prepared(lambda keys: Backend.objects.filter(pk__in=keys))


def _waiting() -> QuerySet[Job]:
    return Job.objects.filter(
        state=State.PENDING.value, reason=Wait.WAITING_FOR_DEPENDENCIES.value, finished_at=None
    )


def _waiting_for(keys: Any) -> QuerySet[Job]:
    return _waiting().filter(needs__pk__in=keys).distinct()


def _blocked_by(failed: Sequence[Job]) -> list[Job]:
    """All that wait for these, directly or not, in order of their keys.

    Most often there is none. Else what waits in the same workspaces is read at once: a chain of 2,000 costs
    two queries, not two for each link.
    """
    if not any(_waiting_for([job.pk for job in some]).exists() for some in chunks(failed)):
        return []
    nearby = _waiting().filter(
        workspace__in={job.workspace_id for job in failed}, backend__in={job.backend_id for job in failed}
    )
    waiting = {job.pk: job for job in nearby}
    # The stubs do not know that a `through` model has a manager.
    link: Any = Job.needs.through
    dependents: dict[int, list[int]] = {}
    links = link.objects.filter(from_job__in=nearby.values("pk"))
    for job, need in links.values_list("from_job", "to_job"):
        dependents.setdefault(need, []).append(job)
    blocked: set[int] = set()
    queue = [job.pk for job in failed]
    while queue:
        for key in dependents.get(queue.pop(), ()):
            if key not in blocked:
                blocked.add(key)
                queue.append(key)
    return [waiting[key] for key in sorted(blocked)]
