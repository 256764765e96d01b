"""Lists of requests: one page at a time by key, each request with its jobs counted instead of loaded.

The number of queries is fixed, and of the jobs of each request shown only the first of each outcome is told,
so that a page is of the same size however many requests there are and however many jobs they have.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from django.db.models import Count, Min, QuerySet

from jobrunner.controller.jobs.describing import JobFacts, RequestHead, describe_jobs, head, with_names
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.tally import DID_NOT_RUN, outcome
from jobrunner.controller.jobs.transitions import FINAL, REUSED, State

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


class Outcome(StrEnum):
    """The words of `tally.outcome`, in the order in which lists tell them: what people look for first."""

    RUNNING = State.RUNNING.value
    FAILED = State.FAILED.value
    REFUSED = State.REFUSED.value
    CANCELLED = State.CANCELLED.value
    NOT_RUN = DID_NOT_RUN
    PENDING = State.PENDING.value
    SUCCEEDED = State.SUCCEEDED.value
    REUSED = REUSED


class UnknownMark(Exception):
    """No request has the id after or before which a page shall begin."""


@dataclass(frozen=True, slots=True)
class Part:
    """The jobs of a request that had one outcome: how many, and the first of them in running order."""

    outcome: Outcome
    count: int
    first: JobFacts

    @property
    def others(self) -> int:
        """How many there are besides the first."""
        return self.count - 1

    @property
    def is_good(self) -> bool:
        """Whether its jobs have succeeded."""
        return self.outcome in (Outcome.SUCCEEDED, Outcome.REUSED)

    @property
    def has_ended(self) -> bool:
        """Whether its jobs have ended."""
        return self.outcome not in (Outcome.RUNNING, Outcome.PENDING)


@dataclass(frozen=True, slots=True)
class Digest:
    """One request with its jobs counted by state, in telling order, and by outcome."""

    head: RequestHead
    counts: Mapping[State, int]
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return sum(count for state, count in self.counts.items() if state in FINAL)

    @property
    def not_run(self) -> int:
        """How many failed without having run."""
        return sum(part.count for part in self.parts if part.outcome is Outcome.NOT_RUN)

    @property
    def endings(self) -> tuple[Part, ...]:
        """The parts that have ended."""
        return tuple(part for part in self.parts if part.has_ended)

    @property
    def good(self) -> tuple[Part, ...]:
        """The parts that have succeeded."""
        return tuple(part for part in self.parts if part.is_good)

    @property
    def rest(self) -> tuple[Part, ...]:
        """The parts that need a sentence: all that have not succeeded."""
        return tuple(part for part in self.parts if not part.is_good)


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
    """These requests, in this order, in a fixed number of queries."""
    rows = with_names(JobRequest.objects.all()).in_bulk(keys)
    return _digests([rows[key] for key in keys], now)


def digest_of(request: JobRequest, *, now: datetime) -> Digest:
    """One request that was read with its names, in a fixed number of queries."""
    (found,) = _digests([request], now)
    return found


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


def _digests(requests: Sequence[JobRequest], now: datetime) -> tuple[Digest, ...]:
    counted = _counted(request.pk for request in requests)
    firsts = [first for groups in counted.values() for _, _, first in _by_outcome(groups)]
    facts = describe_jobs(Job.objects.filter(pk__in=firsts), now=now, causes=False)
    return tuple(
        Digest(
            head(request),
            _by_state(counted.get(request.pk, ())),
            tuple(
                Part(kind, count, facts[first])
                for kind, count, first in _by_outcome(counted.get(request.pk, ()))
            ),
        )
        for request in requests
    )


_Group = tuple[State, Outcome, int, int]


def _counted(keys: Iterable[int]) -> dict[int, list[_Group]]:
    """By request: each state and outcome with the count of its jobs and the key of the first."""
    jobs = Job.objects.filter(request__in=list(keys)).order_by()
    rows = jobs.values_list("request", "state", "reason").annotate(count=Count("pk"), first=Min("pk"))
    found: dict[int, list[_Group]] = {}
    for request, word, reason, count, first in rows:
        state = State(word)
        found.setdefault(request, []).append((state, Outcome(outcome(state, reason)), count, first))
    return found


def _by_state(groups: Iterable[_Group]) -> dict[State, int]:
    found = Counter[State]()
    for state, _, count, _ in groups:
        found[state] += count
    return {state: found[state] for state in TELLING_ORDER if state in found}


def _by_outcome(groups: Iterable[_Group]) -> list[tuple[Outcome, int, int]]:
    counts, firsts = Counter[Outcome](), dict[Outcome, int]()
    for _, kind, count, first in groups:
        counts[kind] += count
        firsts[kind] = min(first, firsts.get(kind, first))
    return [(kind, counts[kind], firsts[kind]) for kind in Outcome if kind in counts]
