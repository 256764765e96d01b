"""How many jobs of a request came to what. What never ran is not counted among what failed."""

from collections.abc import Iterable, Mapping
from typing import Final

from django.db.models import Count

from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import DEPENDENCY_FAILED, REUSED, Situation, State

DID_NOT_RUN: Final = "did_not_run"
_OF_REASON: Final = {
    Situation(State.SUCCEEDED, REUSED): REUSED,
    Situation(State.FAILED, DEPENDENCY_FAILED): DID_NOT_RUN,
}
_ORDER: Final = (
    State.RUNNING.value,
    State.PENDING.value,
    State.SUCCEEDED.value,
    REUSED,
    State.FAILED.value,
    State.REFUSED.value,
    State.CANCELLED.value,
    DID_NOT_RUN,
)
_ENDED_BADLY: Final = (State.FAILED.value, State.REFUSED.value, State.CANCELLED.value)


def outcome(state: State, reason: str) -> str:
    """What a job came to: its state, or `reused`, or `did_not_run`."""
    return _OF_REASON.get(Situation(state, reason), state.value)


def tally(counted: Iterable[tuple[State, str, int]]) -> dict[str, int]:
    """Sums of (state, reason, count), without zeros and in telling order.

    The words are those of the states, and two more: `reused` (it succeeded, but did not run) and
    `did_not_run` (an action that it needs did not succeed).
    """
    sums: dict[str, int] = {}
    for state, reason, count in counted:
        word = outcome(state, reason)
        sums[word] = sums.get(word, 0) + count
    return {word: sums[word] for word in _ORDER if sums.get(word)}


def tallies(requests: Iterable[int]) -> dict[int, dict[str, int]]:
    """The tally of each of these requests, by key, in one query."""
    keys = list(requests)
    rows = Job.objects.filter(request__in=keys).order_by().values_list("request", "state", "reason")
    counted: dict[int, list[tuple[State, str, int]]] = {key: [] for key in keys}
    for request, state, reason, count in rows.annotate(count=Count("pk")):
        counted[request].append((State(state), reason, count))
    return {key: tally(found) for key, found in counted.items()}


def summary(sums: Mapping[str, int]) -> str:
    """A tally in words, for example `1 failed, 3 did not run because of it`."""
    return ", ".join(_worded(word, count, sums) for word, count in sums.items())


def _worded(word: str, count: int, sums: Mapping[str, int]) -> str:
    if word != DID_NOT_RUN:
        return f"{count} {word}"
    # None of them is here when the action that did not succeed belongs to another request.
    causes = sum(sums.get(ended, 0) for ended in _ENDED_BADLY)
    return f"{count} did not run" + {0: "", 1: " because of it"}.get(causes, " because of them")
