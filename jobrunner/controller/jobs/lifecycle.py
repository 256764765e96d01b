"""Moves jobs along the transition table: one transaction for each step, one event for each step.

A step is a compare-and-set on what the caller saw. Who comes second loses and changes nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, TypeVar

from django.db import connection, transaction

from jobrunner.controller.jobs import news
from jobrunner.controller.jobs.models import Job, JobEvent
from jobrunner.controller.jobs.transitions import (
    ACTIVE,
    FINAL,
    PREPARING,
    SUMMED_UP,
    Situation,
    State,
    Wait,
    check_step,
)
from jobrunner.controller.prepared_writes import PreparedInsert, PreparedUpdate
from jobrunner.controller.projects.models import Backend

T = TypeVar("T")

_AT_ONCE: Final = 500


def _one_is(state: State) -> str:
    # Made of our own words only, nothing from outside.
    return (
        f"EXISTS (SELECT 1 FROM jobs_job WHERE request_id = jobs_jobrequest.id AND state = '{state.value}')"  # noqa: S608
    )


# Written by hand, since putting it together from the models took longer than all else that a step costs.
_SUM_UP: Final = " ".join(
    (
        "UPDATE jobs_jobrequest SET state = CASE",
        *(f"WHEN {_one_is(state)} THEN '{state.value}'" for state in SUMMED_UP),
        f"END, finished_at = CASE WHEN {' OR '.join(map(_one_is, ACTIVE))} THEN NULL ELSE %s END",
        "WHERE id = %s",
    )
)

_AS_SEEN: Final = PreparedUpdate(
    lambda keys, state, reason, attempt: Job.objects.filter(
        pk__in=keys, state=state, reason=reason, attempt=attempt
    )
)
_EVENTS: Final = PreparedInsert(JobEvent, "job_id", "at", "state", "reason", "attempt")


class Overtaken(Exception):
    """The job is no longer what the caller saw; somebody else moved it first."""


def situation(job: Job) -> Situation:
    """The job's state and reason."""
    return Situation(State(job.state), job.reason)


def move(job: Job, after: Situation, *, now: datetime, **changes: Any) -> None:
    """Take the job one step along the table, with its event; `changes` are further fields to set.

    Raises ImpossibleStep when the table has no such step, Overtaken when the job has moved meanwhile. The
    transaction that the caller has begun cannot go on then.
    """
    move_all([job], after, now=now, **changes)


def move_along(job: Job, steps: Sequence[Situation], *, now: datetime) -> None:
    """Take a job several steps, each checked and told by an event of its own; the job is written once.

    Raises as `move` does. No steps change nothing.
    """
    if not steps:
        return
    before, after = situation(job), steps[-1]
    for one, other in pairwise((before, *steps)):
        check_step(one, other)
    with transaction.atomic(savepoint=False):
        _write([job], before, job.attempt, _changes(after, now))
        record([(job.pk, step, job.attempt) for step in steps], now=now)
        if before.state != after.state:
            sum_up([job.request_id], now=now)


def move_all(jobs: Sequence[Job], after: Situation, *, now: datetime, **changes: Any) -> None:
    """The same step for many jobs, all or none of them; raises as `move` does."""
    changes |= _changes(after, now)
    turned: set[int] = set()
    with transaction.atomic(savepoint=False):
        for before, attempt, some in _alike(jobs):
            check_step(before, after)
            _write(some, before, attempt, changes)
            if before.state != after.state:
                turned.update(job.request_id for job in some)
        record([(job.pk, situation(job), job.attempt) for job in jobs], now=now)
        sum_up(turned, now=now)


def _changes(after: Situation, now: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {"state": after.state.value, "reason": after.reason, "changed_at": now}
    if after == PREPARING:
        changes["started_at"] = now
    if after.state in FINAL:
        changes["finished_at"] = now
    return changes


def _write(jobs: Sequence[Job], before: Situation, attempt: int, changes: dict[str, Any]) -> None:
    keys = tuple(job.pk for job in jobs)
    if _AS_SEEN.run(keys, before.state.value, before.reason, attempt, **changes) != len(jobs):
        raise Overtaken(", ".join(job.job_id for job in jobs[:5]))
    for job in jobs:
        for name, value in changes.items():
            setattr(job, name, value)


def _alike(jobs: Iterable[Job]) -> Iterator[tuple[Situation, int, list[Job]]]:
    """The jobs by what they are now, at most 500 at once."""
    groups: dict[tuple[Situation, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((situation(job), job.attempt), []).append(job)
    for (before, attempt), found in groups.items():
        for some in chunks(found):
            yield before, attempt, some


def chunks(found: Sequence[T]) -> Iterator[list[T]]:
    """At most 500 at once, which is what one statement may name."""
    for start in range(0, len(found), _AT_ONCE):
        yield list(found[start : start + _AT_ONCE])


def record(steps: Iterable[tuple[int, Situation, int]], *, now: datetime) -> None:
    """Append one event for each of these: a job's key, what it has become, and its attempt."""
    _EVENTS.add([(job, now, step.state.value, step.reason, attempt) for job, step, attempt in steps])
    news.appended()


def sum_up(requests: Iterable[int], *, now: datetime) -> None:
    """Bring the state of some requests, by key, in line with their jobs, one of which changed its state.

    One look into an index for each state, however many jobs a request has. Call in the transaction in which
    the jobs changed.
    """
    if keys := sorted(requests):
        moment = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.executemany(_SUM_UP, [(moment, key) for key in keys])


def first_wait(backend: Backend) -> Wait:
    """Why a job whose needs have all succeeded waits at first."""
    return Wait.PAUSED if backend.paused else Wait.WAITING_FOR_AGENT
