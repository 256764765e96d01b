"""Lists of requests: one page at a time by key, each request with its jobs counted instead of loaded.

The number of queries is fixed, and no job is read but the first in each state of each request shown, so
that a page costs the same however many requests there are and however many jobs they have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count, Min, QuerySet

from jobrunner.controller.jobs.describing import JobFacts, RequestHead, describe_jobs, head, with_names
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.transitions import FINAL, State

PAGE_SIZE: Final = 20
TELLING_ORDER: Final = (
    State.RUNNING,
    State.FAILED,
    State.REFUSED,
    State.CANCELLED,
    State.PENDING,
    State.SUCCEEDED,
)
"""The order in which the states of a request's jobs are told: what people look for first."""


class UnknownMark(Exception):
    """No request has the id after or before which a page shall begin."""


@dataclass(frozen=True, slots=True)
class Part:
    """The jobs of a request that are in one state: how many, and the first of them in running order."""

    state: State
    count: int
    first: JobFacts

    @property
    def others(self) -> int:
        """How many there are besides the first."""
        return self.count - 1


@dataclass(frozen=True, slots=True)
class Digest:
    """One request with its jobs summed up by state, in telling order."""

    head: RequestHead
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return sum(part.count for part in self.parts)

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return sum(part.count for part in self.parts if part.state in FINAL)


@dataclass(frozen=True, slots=True)
class Page:
    """Requests, newest first. `older` and `newer` are marks for the pages beside it, or None at an end."""

    digests: tuple[Digest, ...]
    older: str | None
    newer: str | None


def page(
    requests: QuerySet[JobRequest],
    *,
    before: str = "",
    after: str = "",
    size: int = PAGE_SIZE,
    now: datetime,
) -> Page:
    """The newest of these requests, or those next to a mark: older than `before`, or newer than `after`.

    Raises UnknownMark.
    """
    if after:
        found = list(requests.filter(pk__gt=_key(after)).order_by("pk")[: size + 1])
        shown = found[size - 1 :: -1] if len(found) > size else found[::-1]
        more_newer, more_older = len(found) > size, True
    else:
        older = requests.filter(pk__lt=_key(before)) if before else requests
        found = list(older.order_by("-pk")[: size + 1])
        shown = found[:size]
        more_newer, more_older = bool(before), len(found) > size
    digests = digest([row.pk for row in shown], now=now)
    return Page(
        digests=digests,
        older=digests[-1].head.request_id if digests and more_older else None,
        newer=digests[0].head.request_id if digests and more_newer else None,
    )


def digest(keys: Sequence[int], *, now: datetime) -> tuple[Digest, ...]:
    """These requests, in this order, in four queries."""
    rows = with_names(JobRequest.objects.all()).in_bulk(keys)
    counted = _counted(keys)
    firsts = [first for parts in counted.values() for _, _, first in parts]
    facts = describe_jobs(Job.objects.filter(pk__in=firsts), now=now)
    return tuple(Digest(head(rows[key]), _parts(counted.get(key, ()), facts)) for key in keys)


def parts_of(request: JobRequest, *, now: datetime) -> tuple[Part, ...]:
    """The jobs of one request summed up by state."""
    counted = _counted([request.pk]).get(request.pk, ())
    facts = describe_jobs(Job.objects.filter(pk__in=[first for _, _, first in counted]), now=now)
    return _parts(counted, facts)


def count_by_state(requests: QuerySet[JobRequest]) -> dict[State, int]:
    """How many of these requests are in each state, without the states that none is in."""
    rows = requests.order_by().values_list("state").annotate(count=Count("pk"))
    found = {State(state): count for state, count in rows}
    return {state: found[state] for state in TELLING_ORDER if state in found}


def _key(request_id: str) -> int:
    key = JobRequest.objects.filter(request_id=request_id).values_list("pk", flat=True).first()
    if key is None:
        raise UnknownMark
    return key


def _counted(keys: Iterable[int]) -> dict[int, list[tuple[State, int, int]]]:
    """By request: each state with the count of its jobs and the key of the first."""
    jobs = Job.objects.filter(request__in=list(keys)).order_by()
    rows = jobs.values_list("request", "state").annotate(count=Count("pk"), first=Min("pk"))
    found: dict[int, list[tuple[State, int, int]]] = {}
    for request, state, count, first in rows:
        found.setdefault(request, []).append((State(state), count, first))
    return found


def _parts(counted: Iterable[tuple[State, int, int]], facts: Mapping[int, JobFacts]) -> tuple[Part, ...]:
    parts = [Part(state, count, facts[first]) for state, count, first in counted]
    return tuple(sorted(parts, key=lambda part: TELLING_ORDER.index(part.state)))
