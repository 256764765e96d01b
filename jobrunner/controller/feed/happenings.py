"""What the live stream tells about one change of one job: a closed list of public fields (wall W11, P08)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from jobrunner.controller.jobs.models import JobEvent
from jobrunner.controller.jobs.transitions import State, Wait
from jobrunner.controller.jobs.why import Waiting, why_ended_or_running, why_pending

_COLUMNS: Final = (
    "pk",
    "at",
    "state",
    "reason",
    "attempt",
    "job__job_id",
    "job__action",
    "job__tries",
    "job__request__request_id",
    "job__request__state",
    "job__request__project__slug",
    "job__backend__slug",
    "job__backend__last_seen_at",
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One job event. `at` is in whole seconds since 1970, UTC; `why` is one plain sentence.

    `request_state` is the request's state when the event was read, so it may be that of a later event.
    """

    event_id: int
    request_id: str
    request_state: State
    project: str
    backend: str
    job_id: str
    action: str
    state: State
    reason: str
    why: str
    attempt: int
    at: int

    def as_json(self) -> str:
        """One line of ASCII."""
        fields: dict[str, str | int] = {
            "request_id": self.request_id,
            "request_state": self.request_state.value,
            "project": self.project,
            "backend": self.backend,
            "job_id": self.job_id,
            "action": self.action,
            "state": self.state.value,
            "reason": self.reason,
            "why": self.why,
            "attempt": self.attempt,
            "at": self.at,
        }
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def following(after: int, limit: int) -> list[Happening]:
    """The first `limit` events after the one with the id `after`, in order; one query."""
    return _read(_after(after).order_by("pk")[:limit])


def newest(after: int, limit: int) -> list[Happening]:
    """The last `limit` events after the one with the id `after`, in order; one query."""
    return _read(_after(after).order_by("-pk")[:limit])[::-1]


def _after(after: int) -> QuerySet[JobEvent]:
    return JobEvent.objects.filter(pk__gt=after)


def _read(events: QuerySet[JobEvent]) -> list[Happening]:
    rows: Iterable[tuple[Any, ...]] = events.values_list(*_COLUMNS)
    return [_happening(*row) for row in rows]


def _happening(
    event_id: int,
    at: datetime,
    state: str,
    reason: str,
    attempt: int,
    job_id: str,
    action: str,
    tries: int,
    request_id: str,
    request_state: str,
    project: str,
    backend: str,
    last_seen_at: datetime | None,
) -> Happening:
    return Happening(
        event_id=event_id,
        request_id=request_id,
        request_state=State(request_state),
        project=project,
        backend=backend,
        job_id=job_id,
        action=action,
        state=State(state),
        reason=reason,
        why=_why(State(state), reason, backend, last_seen_at, tries, at),
        attempt=attempt,
        at=int(at.timestamp()),
    )


def _why(
    state: State,
    reason: str,
    backend: str,
    last_seen_at: datetime | None,
    tries: int,
    at: datetime,
) -> str:
    """The sentence as of the event; which needs are unmet, or did not succeed, is not looked up."""
    if state is not State.PENDING:
        return why_ended_or_running(state, reason, cancel_wished=False)
    wait = Waiting(
        reason=Wait(reason),
        backend=backend,
        paused=reason == Wait.PAUSED,
        last_seen_at=last_seen_at,
        unmet=(),
        tries=tries,
    )
    return why_pending(wait, now=at)
