"""The live stream within one process: one reader of new job events, shared by all who watch.

A viewer holds no queue, only the id up to which it has been told. The events themselves are kept once, in
a window of the newest thousand, so a viewer costs the same however slow it is; one that falls out of the
window, or comes back from before it, is told to load the page anew.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from django.db import close_old_connections

from jobrunner.controller.feed.happenings import Happening, following, newest
from jobrunner.controller.jobs import news

WINDOW: Final = 1000
_AT_ONCE: Final = 250
_IN_ONE_PIECE: Final = 100
_OTHER_PROCESSES_S: Final = 0.5
_GAP_S: Final = 0.05

_log = logging.getLogger(__name__)


class Missed(Exception):
    """What comes after the id is not, or no longer, known here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a viewer wants; None means any."""

    project: str | None = None
    backend: str | None = None
    request_id: str | None = None

    def __call__(self, happening: Happening) -> bool:
        return (
            self.project in (None, happening.project)
            and self.backend in (None, happening.backend)
            and self.request_id in (None, happening.request_id)
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Events as they are sent, and the id up to which they reach."""

    text: bytes
    upto: int


def as_event(happening: Happening) -> bytes:
    """One event of the stream, as its receiver gets it."""
    return f"id: {happening.event_id}\nevent: job\ndata: {happening.as_json()}\n\n".encode()


class Stream:
    """One per process, for one event loop. It reads only while somebody watches."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._looking = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._viewers: set[asyncio.Event] = set()
        self._unanswered = False
        # `_ids` and `_events` are the window, in order; nothing up to `_floor` is in it.
        self._floor = 0
        self._ids: list[int] = []
        self._events: list[tuple[Happening, bytes]] = []

    @property
    def newest_id(self) -> int:
        """The id of the newest event that has been read."""
        return self._ids[-1] if self._ids else self._floor

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there may be something new.

        Raises DatabaseError or InterfaceError when the database does not answer.
        """
        woken = asyncio.Event()
        self._viewers.add(woken)
        try:
            async with self._looking:
                if self._reading is None or self._reading.done():
                    await self._begin()
            yield woken
        finally:
            self._viewers.discard(woken)

    async def reach(self, event_id: int) -> None:
        """Raise Missed unless what follows the event can be told without a gap.

        Another process may have told of an event that this one has not read yet, so it looks first.
        """
        if event_id > self.newest_id:
            async with self._looking:
                if event_id > self.newest_id:
                    await self._look()
        if not self._floor <= event_id <= self.newest_id:
            raise Missed

    def since(self, after: int, wanted: Wanted) -> Piece:
        """What follows an id, of the next 100 events; raises Missed when some have left the window."""
        if after < self._floor:
            raise Missed
        first = bisect_right(self._ids, after)
        last = min(first + _IN_ONE_PIECE, len(self._ids))
        if first == last:
            return Piece(b"", after)
        text = b"".join(text for happening, text in self._events[first:last] if wanted(happening))
        return Piece(text, self._ids[last - 1])

    async def _begin(self) -> None:
        found = await self._in_thread(partial(newest, self.newest_id, WINDOW))
        if len(found) == WINDOW:
            self._ids, self._events, self._floor = [], [], found[0].event_id - 1
        self._keep(found)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()
        with news.listen(partial(loop.call_soon_threadsafe, rung.set)):
            while self._viewers:
                rung.clear()
                found = await self._look_safely()
                # What is committed meanwhile becomes one look and, for each viewer, one packet.
                await asyncio.sleep(_GAP_S)
                if found == _AT_ONCE:
                    continue
                try:
                    async with asyncio.timeout(_OTHER_PROCESSES_S):
                        await rung.wait()
                except TimeoutError:
                    pass

    async def _look_safely(self) -> int:
        try:
            async with self._looking:
                found = await self._look()
        except Exception:  # noqa: BLE001 - without a reader viewers would hear heartbeats and no news
            if not self._unanswered:
                _log.exception("the live stream cannot read what is new")
            self._unanswered = True
            await asyncio.sleep(_OTHER_PROCESSES_S)
            return 0
        self._unanswered = False
        return found

    async def _look(self) -> int:
        found = await self._in_thread(partial(following, self.newest_id, _AT_ONCE))
        if found:
            self._keep(found)
            for woken in self._viewers:
                woken.set()
        return len(found)

    def _keep(self, found: list[Happening]) -> None:
        # Made first: the window stays whole if one of them cannot be told.
        events = [(happening, as_event(happening)) for happening in found]
        self._ids.extend(happening.event_id for happening in found)
        self._events.extend(events)
        surplus = len(self._ids) - WINDOW
        if surplus > 0:
            self._floor = self._ids[surplus - 1]
            del self._ids[:surplus]
            del self._events[:surplus]

    async def _in_thread(self, work: Callable[[], list[Happening]]) -> list[Happening]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _with_connection, work)


def _with_connection(work: Callable[[], list[Happening]]) -> list[Happening]:
    try:
        return work()
    finally:
        close_old_connections()
