"""What the agent tells the controller of its free places, in the way in which the controller counts them."""

from typing import Final

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import is_database
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.journal import Journal
from jobrunner.sync.messages import Slots

_OVER: Final = frozenset({Step.CLEAN_UP, Step.DONE})
_NOT_DERIVED: Final = frozenset({Step.VERIFY, Step.FETCH})


def free_places(journal: Journal, desk: Desk) -> Slots:
    """`plain`: all free places; `db`: how many more database actions may run, whether places are free or not.

    A place is taken from the answer to a claim until the end is in the outbox: the controller counts so too
    from then on, so that what it is told agrees with what it knows, whichever came first. An attempt whose
    commit was not read yet may be a database action, so it counts as one. A site without a database tells all
    free places as both, so that a database action is offered to it, and refused by it with a reason.
    """
    places = desk.places()
    taken = [attempt for attempt in journal.open_attempts() if _counts(attempt)]
    free = max(0, places.total - len(taken))
    if places.database == 0:
        return Slots(db=free, plain=free)
    databases = sum(is_database(attempt) or attempt.step in _NOT_DERIVED for attempt in taken)
    return Slots(db=max(0, places.database - databases), plain=free)


def are_derived(journal: Journal) -> bool:
    """Whether it is known of every attempt whether it is a database action."""
    return not any(attempt.step in _NOT_DERIVED for attempt in journal.open_attempts())


def _counts(attempt: Attempt) -> bool:
    return attempt.step is not Step.ACCEPT and attempt.step not in _OVER
