"""Who changes jobs of a backend does so alone: the row of the backend is locked until the transaction ends.

SQLite has one writer at a time anyway. On PostgreSQL this gives each step the same exclusion: what it has
read about the backend and its jobs is still so when it writes. All that a step moves belongs to one backend,
and this lock is taken before any other, so that nobody waits for each other in a circle.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from jobrunner.controller.prepared import Prepared
from jobrunner.controller.prepared_writes import PreparedUpdate
from jobrunner.controller.projects.models import Backend

# No key: rows that refer to the backend may be added meanwhile.
_TAKEN: Final = Prepared(lambda key: Backend.objects.select_for_update(no_key=True).filter(pk=key))
_NOTED: Final = PreparedUpdate(lambda key: Backend.objects.filter(pk=key))
_SEEN_NOTED_EVERY: Final = timedelta(seconds=10)


def take(backend: int) -> Backend:
    """Wait for the turn; returns the backend as it is now. Call first in a transaction."""
    found = _TAKEN.first(backend)
    if found is None:
        raise Backend.DoesNotExist
    return found


def note_seen(agent: Backend, *, now: datetime, **told: int) -> None:
    """Note that the backend's agent called, every 10 s at most, and what it `told` if that is news."""
    changes: dict[str, datetime | int] = {
        name: value for name, value in told.items() if getattr(agent, name) != value
    }
    if agent.last_seen_at is None or now - agent.last_seen_at > _SEEN_NOTED_EVERY:
        changes["last_seen_at"] = now
    if changes:
        note(agent, **changes)


def note(agent: Backend, **changes: Any) -> None:
    """Store these fields of the backend."""
    _NOTED.run(agent.pk, **changes)
