"""Why a job in failed/dependency_failed never ran: the actions at the root that did not succeed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import F

from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import DEPENDENCY_FAILED, State
from jobrunner.controller.jobs.why_not_run import Cause

_KEPT: Final = 4
_REQUESTS_BACK: Final = 4
_DID_NOT_RUN: Final = (State.FAILED.value, DEPENDENCY_FAILED)


@dataclass(frozen=True, slots=True)
class _Need:
    key: int
    request: int
    cause: Cause

    @property
    def did_not_run(self) -> bool:
        return (self.cause.state.value, self.cause.reason) == _DID_NOT_RUN


def causes_of(jobs: Sequence[Job]) -> dict[int, tuple[Cause, ...]]:
    """For each of the jobs that did not run, by key, up to 4 of the actions that kept it from running.

    One query, and one more for each older request whose failure reached into these, four at most; what lies
    further back is told by the nearest action that is known.
    """
    blocked = [job for job in jobs if (job.state, job.reason) == _DID_NOT_RUN]
    if not blocked:
        return {}
    needs = _unmet_needs({job.request_id for job in blocked})
    causes: dict[int, tuple[Cause, ...]] = {}
    # A job is stored after all that it needs, so its needs have their causes by now.
    for key in sorted(needs):
        roots = [root for need in needs[key] for root in _roots(need, causes)]
        causes[key] = tuple(dict.fromkeys(roots))[:_KEPT]
    return {job.pk: causes.get(job.pk, ()) for job in blocked}


def _roots(need: _Need, causes: dict[int, tuple[Cause, ...]]) -> tuple[Cause, ...]:
    return causes.get(need.key, (need.cause,)) if need.did_not_run else (need.cause,)


def _unmet_needs(requests: Collection[int]) -> dict[int, list[_Need]]:
    """Of each job of these requests that did not run, the needs that had ended badly by then."""
    needs: dict[int, list[_Need]] = {}
    left, seen = set(requests), set[int]()
    for _round in range(1 + _REQUESTS_BACK):
        seen |= left
        further = set[int]()
        for key, need in _links(left):
            needs.setdefault(key, []).append(need)
            if need.did_not_run:
                further.add(need.request)
        left = further - seen
        if not left:
            break
    return needs


def _links(requests: Iterable[int]) -> Iterable[tuple[int, _Need]]:
    # The stubs do not know that a `through` model has a manager.
    links: Any = Job.needs.through
    rows = (
        links.objects.filter(
            from_job__request__in=list(requests),
            from_job__state=State.FAILED.value,
            from_job__reason=DEPENDENCY_FAILED,
            # One that ended badly later was not the reason.
            to_job__finished_at__lte=F("from_job__finished_at"),
        )
        .exclude(to_job__state=State.SUCCEEDED.value)
        .order_by("from_job", "to_job")
        .values_list(
            "from_job",
            "to_job",
            "to_job__request",
            "to_job__action",
            "to_job__state",
            "to_job__reason",
            "to_job__request__request_id",
        )
    )
    for key, need, request, action, state, reason, request_id in rows:
        yield key, _Need(need, request, Cause(action, State(state), reason, request_id))
