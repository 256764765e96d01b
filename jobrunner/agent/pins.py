"""A pinned commit for every job of a request, fetched once for those that begin together.

Twenty actions of one request that start at the same moment need one look at the git host, not twenty. What
was fetched serves the jobs of the same request that begin within seconds of that fetch, and nobody else:
another request, even for the same commit, asks the host again (threats.md section 5 item 8). Those who waited
for a fetch that failed have its failure too, so that a host which does not answer holds all of them up once.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from jobrunner.agent.derive import PIPELINE_LIMIT
from jobrunner.study import IntakeError, Mirrors, PinnedCommit, Stop
from jobrunner.sync.messages import Offer

SHARED_FOR_S: Final = 10.0
"""How long, counted from the moment before a fetch, its result is taken for the state of the branch now."""
_MOST_KEPT: Final = 64
_LOOK_AT_STOP_S: Final = 0.1

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Pin:
    """A commit that was proved to be on its branch, and its project.yaml as the commit has it."""

    commit: PinnedCommit
    pipeline_file: bytes


@dataclass(slots=True)
class _Place:
    """Where the jobs of one request meet; the first one fetches while the others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: float = float("-inf")
    pin: Pin | None = None
    failed: float = float("-inf")
    failure: IntakeError | None = None


class Pins:
    """Safe to use from many threads."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        self._lock = threading.Lock()
        self._places: dict[_Key, _Place] = {}

    def pin(self, offer: Offer, stop: Stop | None = None) -> Pin:
        """The offer's commit.

        A failure is that of the job which fetched, and of those of its request that began to wait meanwhile,
        within `SHARED_FOR_S`; whoever comes later asks the host again.

        Raises IntakeError as `Mirrors.pin` does, and Stopped, also while another job of the request fetches.
        """
        stop = stop or Stop()
        place = self._place((offer.request_id, offer.repo, offer.branch, offer.commit))
        asked = time.monotonic()
        with _held(place.lock, stop):
            if place.failure is not None and asked < min(place.failed, place.begun + SHARED_FOR_S):
                raise place.failure
            if place.pin is None or time.monotonic() > place.begun + SHARED_FOR_S:
                place.pin = place.failure = None
                place.begun = time.monotonic()
                try:
                    place.pin = self._fetch(offer, stop)
                except IntakeError as failure:
                    place.failed, place.failure = time.monotonic(), failure
                    raise
            return place.pin

    def _fetch(self, offer: Offer, stop: Stop) -> Pin:
        commit = self._mirrors.pin(offer.repo, offer.branch, offer.commit, stop=stop)
        return Pin(commit, commit.read_file("project.yaml", PIPELINE_LIMIT, stop))

    def forget(self, offer: Offer) -> None:
        """What was pinned could not be used (a damaged mirror): the next job asks the host again."""
        with self._lock:
            self._places.pop((offer.request_id, offer.repo, offer.branch, offer.commit), None)

    def _place(self, key: _Key) -> _Place:
        with self._lock:
            if key not in self._places and len(self._places) >= _MOST_KEPT:
                # The oldest; whoever is at it keeps it.
                self._places.pop(next(iter(self._places)))
            return self._places.setdefault(key, _Place())


@contextmanager
def _held(lock: threading.Lock, stop: Stop) -> Iterator[None]:
    while not lock.acquire(timeout=_LOOK_AT_STOP_S):
        stop.check()
    try:
        yield
    finally:
        lock.release()
