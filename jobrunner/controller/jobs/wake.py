"""Tells waiting polls at once that something changed for their backend, without a thread for each of them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import transaction
from django.db.models import F

from jobrunner.controller.prepared_writes import PreparedUpdate
from jobrunner.controller.projects.models import Backend

_CHANGED: Final = PreparedUpdate(lambda key: Backend.objects.filter(pk=key), changes=F("changes") + 1)


class Bell:
    """One per process. `ring` may be called from any thread; listeners live on their event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: dict[int, dict[asyncio.Event, asyncio.AbstractEventLoop]] = {}

    @contextmanager
    def listen(self, backend: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever the backend's bell rings, for as long as the block lasts."""
        rung = asyncio.Event()
        with self._lock:
            self._listening.setdefault(backend, {})[rung] = asyncio.get_running_loop()
        try:
            yield rung
        finally:
            with self._lock:
                self._listening[backend].pop(rung)
                if not self._listening[backend]:
                    del self._listening[backend]

    def ring(self, backend: int) -> None:
        """Wake all who listen for this backend."""
        with self._lock:
            listening = list(self._listening.get(backend, {}).items())
        for rung, loop in listening:
            loop.call_soon_threadsafe(rung.set)

    def listeners(self, backend: int) -> int:
        """How many listen for this backend."""
        with self._lock:
            return len(self._listening.get(backend, {}))

    def backends(self) -> frozenset[int]:
        """Backends for which somebody listens."""
        with self._lock:
            return frozenset(self._listening)


BELL = Bell()


def changed(backend: int) -> None:
    """Note, in the current transaction, that something changed that the backend's agent wants to know.

    Polls of this process are woken at the commit; other processes see the count (`changes_of`).
    """
    _CHANGED.run(backend)
    transaction.on_commit(lambda: BELL.ring(backend))


def changes_of(backends: frozenset[int]) -> dict[int, int]:
    """The counts of changes of some backends."""
    return dict(Backend.objects.filter(pk__in=backends).values_list("pk", "changes"))
