"""What every state and every reason means, generated from the closed lists so that none can be missing."""

from dataclasses import dataclass
from typing import Final

from jobrunner.controller.jobs.advice import NEXT
from jobrunner.controller.jobs.transitions import REASONS, State, Wait
from jobrunner.controller.jobs.why import MEANING

STATES: Final[dict[State, str]] = {
    State.PENDING: "It waits. A sentence beside it says what for.",
    State.RUNNING: "A data centre has taken it and is at work on it.",
    State.SUCCEEDED: "The code ran to its end, now or earlier. Its outputs stay inside the data centre.",
    State.FAILED: "It was tried and did not work. Nothing comes of it.",
    State.REFUSED: "The data centre did not accept it: the approval, the code or its own rules said no.",
    State.CANCELLED: "Somebody stopped it, before or while it ran.",
}
"""One plain sentence for each state."""

WAITS: Final[dict[Wait, str]] = {
    Wait.WAITING_FOR_DEPENDENCIES: "Another action, whose outputs it needs, has not finished.",
    Wait.WAITING_FOR_AGENT: "It is ready; the data centre has not taken it yet.",
    Wait.WAITING_FOR_CAPACITY: "It is ready; the data centre is busy with others.",
    Wait.PAUSED: "It is ready; the data centre starts nothing new at present.",
    Wait.RETRYING: "Something went wrong that was not the study's doing; it is tried up to three times.",
}
"""One plain sentence for each reason to wait."""


@dataclass(frozen=True, slots=True)
class ReasonEntry:
    """A reason, what it means, and what a researcher does next; "" while a job has not ended."""

    reason: str
    meaning: str
    next_step: str


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A state, what it means, and its reasons."""

    state: State
    meaning: str
    reasons: tuple[ReasonEntry, ...]


def glossary() -> tuple[StateEntry, ...]:
    """All states in the order of a job's life, each with all its reasons."""
    return tuple(
        StateEntry(
            state,
            STATES[state],
            tuple(
                ReasonEntry(reason, _meaning(state, reason), NEXT.get((state, reason), ""))
                for reason in reasons
            ),
        )
        for state, reasons in REASONS.items()
    )


def _meaning(state: State, reason: str) -> str:
    return WAITS[Wait(reason)] if state is State.PENDING else MEANING[state, reason]
