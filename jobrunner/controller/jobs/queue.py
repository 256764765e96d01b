"""The jobs of a backend that have not ended, read by one index that holds nothing else.

A look costs what the active jobs cost, however many have ended. Every query here says `finished_at=None`
and names what it needs in the order of that index.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from django.db.models import Count, Min, QuerySet

from jobrunner.controller.jobs.fair_shares import Claimant, share
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import READY, State, Wait
from jobrunner.controller.prepared import Given, Prepared
from jobrunner.controller.projects.models import Backend, Workspace

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """Ready jobs of one kind, reason and workspace: how many, and the key of the oldest."""

    reason: str
    is_database: bool
    workspace: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Run:
    """A running job. `over`: its lease ran out; `wished`: somebody wishes it to stop."""

    key: int
    job_id: str
    attempt: int
    is_database: bool
    workspace: int
    over: bool
    wished: bool


def active(agent: Backend | Given, state: State) -> QuerySet[Job]:
    """Jobs of the backend in an active state."""
    return Job.objects.filter(backend=agent, state=state.value, finished_at=None)


def waiting(agent: Backend | Given, wait: Wait) -> QuerySet[Job]:
    """Pending jobs of the backend that wait for this reason."""
    return active(agent, State.PENDING).filter(reason=wait.value)


def lines(agent: Backend, *, now: datetime, terms: Terms) -> list[Line]:
    """All that is ready at the backend, in one query."""
    return [Line(*row) for row in _LINES.rows(agent.pk, _failed_after(now, terms))]


def _lines(agent: Given, failed_after: Given) -> QuerySet[Job, Any]:
    ready = active(agent, State.PENDING).filter(reason__in=[wait.value for wait in READY])
    rested = _rested(ready, failed_after).values_list("reason", "is_database", "workspace")
    return rested.annotate(first=Min("pk"), count=Count("pk"))


_LINES: Final = Prepared(_lines)


def _failed_after(now: datetime, terms: Terms) -> datetime:
    return now - timedelta(seconds=terms.retry_s)


def _rested(jobs: QuerySet[Job], failed_after: datetime | Given) -> QuerySet[Job]:
    """Without those that are to be tried again, but not yet."""
    return jobs.exclude(reason=Wait.RETRYING.value, changed_at__gt=failed_after)


_RUNS: Final = Prepared(
    lambda agent: active(agent, State.RUNNING).values_list(
        "pk", "job_id", "attempt", "is_database", "workspace", "lease_expires_at", "cancel_reason"
    )
)


def runs(agent: Backend, *, now: datetime, terms: Terms) -> list[Run]:
    """What runs at the backend, oldest first, in one query."""
    limit = terms.lapse_limit(now)
    found = [
        Run(
            key=key,
            job_id=job_id,
            attempt=attempt,
            is_database=is_database,
            workspace=workspace,
            over=limit is not None and ends is not None and ends < limit,
            wished=bool(cancel_reason),
        )
        for key, job_id, attempt, is_database, workspace, ends, cancel_reason in _RUNS.rows(agent.pk)
    ]
    # Sorted here, since a planner that is asked for the order of keys may walk through all keys.
    return sorted(found, key=lambda run: run.key)


def pick(
    agent: Backend,
    ready: Sequence[Line],
    running: Sequence[Run],
    *,
    most: int,
    now: datetime,
    terms: Terms,
) -> list[int]:
    """Keys of the jobs that come next and fit the backend's free places, in their turn.

    A job whose lease ran out comes again, unless somebody wishes it to stop.

    Each kind is shared fairly by itself; where both together are more than the free places, the workspace
    that runs least and waited longest comes first, so that neither kind can keep the other out.
    """
    free = min(agent.free_plain, most)
    if free == 0:
        return []
    places = {True: min(agent.free_db, free), False: free}
    served = _last_served({line.workspace for line in ready} | {run.workspace for run in running})
    busy = Counter(run.workspace for run in running)
    again = [run for run in running if run.over and not run.wished]
    chosen: list[tuple[int, int]] = []
    for is_database, count in places.items():
        mine = [line for line in ready if line.is_database is is_database]
        lapsed = [run for run in again if run.is_database is is_database]
        shares = share(count, _claimants(mine, lapsed, busy, served))
        chosen += _oldest(agent, shares, mine, lapsed, now, terms)
    turns: list[tuple[int, datetime, int]] = []
    for workspace, key in sorted(chosen, key=lambda one: one[1]):
        # Each job that a workspace gets counts against its next one.
        turns.append((busy[workspace], served[workspace] or _NEVER, key))
        busy[workspace] += 1
    return [key for _busy, _served, key in sorted(turns)[:free]]


_LAST_SERVED: Final = Prepared(
    lambda keys: Workspace.objects.filter(pk__in=keys).values_list("pk", "last_served_at")
)


def _last_served(workspaces: Iterable[int]) -> dict[int, datetime | None]:
    return dict(_LAST_SERVED.rows(tuple(workspaces)))


def _claimants(
    ready: Sequence[Line],
    lapsed: Sequence[Run],
    busy: Counter[int],
    served: dict[int, datetime | None],
) -> list[Claimant]:
    available: Counter[int] = Counter()
    firsts: dict[int, list[int]] = defaultdict(list)
    for line in ready:
        available[line.workspace] += line.count
        firsts[line.workspace].append(line.first)
    for run in lapsed:
        available[run.workspace] += 1
        firsts[run.workspace].append(run.key)
    return [
        Claimant(workspace, count, min(firsts[workspace]), busy[workspace], served[workspace])
        for workspace, count in available.items()
    ]


def _oldest(
    agent: Backend,
    shares: dict[int, int],
    ready: Sequence[Line],
    lapsed: Sequence[Run],
    now: datetime,
    terms: Terms,
) -> list[tuple[int, int]]:
    """Workspace and key of the oldest jobs of each workspace, as many as its share."""
    keys: dict[int, list[int]] = {workspace: [] for workspace in shares}
    for run in lapsed:
        if run.workspace in shares:
            keys[run.workspace].append(run.key)
    for line in ready:
        if line.workspace in shares:
            keys[line.workspace] += _heads(agent, line, shares[line.workspace], now, terms)
    return [
        (workspace, key) for workspace, found in keys.items() for key in sorted(found)[: shares[workspace]]
    ]


def _heads(agent: Backend, line: Line, count: int, now: datetime, terms: Terms) -> list[int]:
    """Keys of the oldest jobs of a line; no query where the first one is all that is wanted."""
    if count == 1 or line.count == 1:
        return [line.first]
    failed_after = _failed_after(now, terms)
    found = _first(count).rows(agent.pk, line.reason, line.is_database, line.workspace, failed_after)
    return [key for (key,) in found]


@cache
def _first(count: int) -> Prepared[Job]:
    def query(
        agent: Given, reason: Given, is_database: Given, workspace: Given, failed_after: Given
    ) -> QuerySet[Job, Any]:
        jobs = active(agent, State.PENDING).filter(
            reason=reason, is_database=is_database, workspace=workspace
        )
        return _rested(jobs, failed_after).order_by("pk").values_list("pk")[:count]

    return Prepared(query)
