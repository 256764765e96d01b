"""The life of a job: every state, every reason, and every step from one to another (design.md section 5).

Pure values. Nothing else in the controller decides whether a job may change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason


class State(StrEnum):
    """Where a job is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Wait(StrEnum):
    """Why a job is pending. Only the controller says these."""

    WAITING_FOR_DEPENDENCIES = "waiting_for_dependencies"
    WAITING_FOR_AGENT = "waiting_for_agent"
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    PAUSED = "paused"
    RETRYING = "retrying"


REUSED: Final = "reused"
DEPENDENCY_FAILED: Final = "dependency_failed"


class Situation(NamedTuple):
    """A state with its reason."""

    state: State
    reason: str


class ImpossibleStep(Exception):
    """The table has no such step."""


STAGES: Final = (Reason.PREPARING.value, Reason.EXECUTING.value, Reason.COLLECTING.value)
"""Reasons of a running job, in the order in which they come."""

REASONS: Final[dict[State, tuple[str, ...]]] = {
    State.PENDING: tuple(wait.value for wait in Wait),
    State.RUNNING: STAGES,
    State.SUCCEEDED: (Reason.COMPLETED.value, REUSED),
    State.FAILED: (
        *(
            r.value
            for r in Reason
            if r in REASONS_OF_EXIT[ExitClass.FAILED] and r is not Reason.INTERNAL_ERROR
        ),
        DEPENDENCY_FAILED,
        Reason.INTERNAL_ERROR.value,
    ),
    State.REFUSED: tuple(r.value for r in Reason if r in REASONS_OF_EXIT[ExitClass.REFUSED]),
    State.CANCELLED: tuple(r.value for r in Reason if r in REASONS_OF_EXIT[ExitClass.CANCELLED]),
}

ACTIVE: Final = (State.PENDING, State.RUNNING)
FINAL: Final = (State.SUCCEEDED, State.FAILED, State.REFUSED, State.CANCELLED)
SUMMED_UP: Final = (
    State.RUNNING,
    State.PENDING,
    State.FAILED,
    State.REFUSED,
    State.CANCELLED,
    State.SUCCEEDED,
)
"""A request is in the first of these states that one of its jobs is in."""

READY: Final = (Wait.WAITING_FOR_AGENT, Wait.WAITING_FOR_CAPACITY, Wait.RETRYING)
"""Reasons of pending jobs that an agent may claim: all their needs have succeeded, and nobody paused them."""


def _pending(*waits: Wait) -> tuple[Situation, ...]:
    return tuple(Situation(State.PENDING, wait.value) for wait in waits)


def _all(state: State) -> tuple[Situation, ...]:
    return tuple(Situation(state, reason) for reason in REASONS[state])


def _except(situations: Iterable[Situation], reason: str) -> tuple[Situation, ...]:
    return tuple(situation for situation in situations if situation.reason != reason)


PREPARING: Final = Situation(State.RUNNING, STAGES[0])
_FIRST_WAITS: Final = _pending(Wait.WAITING_FOR_DEPENDENCIES, Wait.WAITING_FOR_AGENT, Wait.PAUSED)


@dataclass(frozen=True, slots=True)
class Rule:
    """When `cause` happens, a job in one of `before` (empty: a new job) moves to one of `after`."""

    cause: str
    before: tuple[Situation, ...]
    after: tuple[Situation, ...]


RULES: Final = (
    Rule("asked for", (), _FIRST_WAITS),
    Rule("asked for, but an earlier run serves", (), (Situation(State.SUCCEEDED, REUSED),)),
    Rule(
        "its last need succeeded",
        _pending(Wait.WAITING_FOR_DEPENDENCIES),
        _pending(Wait.WAITING_FOR_AGENT, Wait.PAUSED),
    ),
    Rule(
        "a need failed, was refused or was cancelled",
        _pending(Wait.WAITING_FOR_DEPENDENCIES),
        (Situation(State.FAILED, DEPENDENCY_FAILED),),
    ),
    Rule(
        "the agent has no free place for it",
        _pending(Wait.WAITING_FOR_AGENT),
        _pending(Wait.WAITING_FOR_CAPACITY),
    ),
    Rule(
        "the backend is paused",
        _pending(Wait.WAITING_FOR_AGENT, Wait.WAITING_FOR_CAPACITY),
        _pending(Wait.PAUSED),
    ),
    Rule("the backend goes on", _pending(Wait.PAUSED), _pending(Wait.WAITING_FOR_AGENT)),
    Rule("an agent claims it", _pending(*READY), (PREPARING,)),
    Rule("its lease ran out and an agent claims it", _all(State.RUNNING), (PREPARING,)),
    Rule("the agent goes on", (PREPARING,), _except(_all(State.RUNNING), STAGES[0])),
    Rule(
        "the agent collects",
        (Situation(State.RUNNING, STAGES[1]),),
        (Situation(State.RUNNING, STAGES[2]),),
    ),
    Rule("it ended well", _all(State.RUNNING), (Situation(State.SUCCEEDED, Reason.COMPLETED.value),)),
    Rule("it failed", _all(State.RUNNING), _except(_all(State.FAILED), DEPENDENCY_FAILED)),
    Rule(
        "an error that is not the study's, and tries are left", _all(State.RUNNING), _pending(Wait.RETRYING)
    ),
    Rule("the site refused it", _all(State.RUNNING), _all(State.REFUSED)),
    Rule("it was stopped", _all(State.RUNNING), _all(State.CANCELLED)),
    Rule(
        "cancelled before it ran",
        _all(State.PENDING),
        _except(_all(State.CANCELLED), Reason.BY_SITE.value),
    ),
)

_NEW: Final = frozenset(after for rule in RULES if not rule.before for after in rule.after)
_STEPS: Final = frozenset((before, after) for rule in RULES for before in rule.before for after in rule.after)


def check_new(situation: Situation) -> None:
    """Raise ImpossibleStep unless a job may begin like this."""
    if situation not in _NEW:
        raise ImpossibleStep(f"a job cannot begin as {situation.state}/{situation.reason}")


def check_step(before: Situation, after: Situation) -> None:
    """Raise ImpossibleStep unless some rule leads from `before` to `after`."""
    if (before, after) not in _STEPS:
        raise ImpossibleStep(f"no step from {before.state}/{before.reason} to {after.state}/{after.reason}")
