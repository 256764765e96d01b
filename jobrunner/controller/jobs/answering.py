"""What a request is answered: what was stored, which earlier runs serve, and what waits or runs already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobrunner.controller.jobs.describing import RequestFacts, describe
from jobrunner.controller.jobs.intake import Answer
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.reusing import would_serve
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.jobs.why_not_run import ServingRun, older_runs, short

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Already:
    """An action that waits or runs already, under an earlier request."""

    action: str
    state: State
    request_id: str
    asked_by: str
    commit: str
    same_commit: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a request, in sentences and as facts. `request` is None when there was nothing to do.

    `reused`: by action, the run that serves in place of a new one.
    """

    message: str
    request: RequestFacts | None
    reused: Mapping[str, ServingRun]
    already: tuple[Already, ...]


def tell(answer: Answer, commit: str, *, now: datetime) -> Told:
    """The answer to a request for this commit, in a fixed number of queries."""
    already = _already(answer.active, commit)
    if answer.request is None:
        request = None
        begin = answer.nothing_to_do or ""
        reused = would_serve(answer.succeeded, commit)
    else:
        (request,) = describe([answer.request], now=now)
        begin = "Asked for." if answer.new else "Asked for before, with the same key."
        reused = {job.action: job.serving for job in request.jobs if job.serving is not None}
    sentences = (begin, older_runs(list(reused.values())), _about(already))
    return Told(" ".join(filter(None, sentences)), request, reused, already)


def _already(active: Mapping[str, int], commit: str) -> tuple[Already, ...]:
    if not active:
        return ()
    rows = Job.objects.select_related("request__person").in_bulk(list(active.values()))
    return tuple(
        Already(
            action=action,
            state=State(rows[key].state),
            request_id=rows[key].request.request_id,
            asked_by=rows[key].request.person.username,
            commit=rows[key].request.commit,
            same_commit=rows[key].request.commit == commit,
        )
        for action, key in active.items()
    )


def _about(already: Sequence[Already]) -> str:
    """Where to look for what waits or runs already, and whether it is of another commit."""
    if not already:
        return ""
    places = list(dict.fromkeys(one.request_id for one in already))
    others = ", and others" if len(places) > _NAMED else ""
    said = f"Look at request{'s' if len(places) > 1 else ''} {', '.join(places[:_NAMED])}{others} for "
    names = [f"`{one.action}`" for one in already[:_NAMED]]
    more = len(already) - len(names)
    said += ", ".join(names) + (f" and {more} more." if more else ".")
    elsewhere = [one for one in already if not one.same_commit]
    if elsewhere:
        commits = ", ".join(dict.fromkeys(short(one.commit) for one in elsewhere[:_NAMED]))
        said += f" That is at another commit ({commits}): to run at this one, ask again when it has ended."
    return said
