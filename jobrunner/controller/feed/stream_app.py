"""`GET /feed/events`: the live stream as Server-Sent Events, in front of Django (no thread for a viewer).

    id: 812
    event: job
    data: {"request_id":"...","project":"...","action":"...","state":"running",...}

`event: reset` says that something was missed and that the page must be loaded anew. Who comes back names
the last id in `Last-Event-ID`, or in `?after=` where headers cannot be set.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, InterfaceError

from jobrunner.controller.edge import Receive, Scope, Send
from jobrunner.controller.feed.question import BadQuestion, Question, check_host, read_question
from jobrunner.controller.feed.seats import Full, Seats, who_asks
from jobrunner.controller.feed.stream import Missed, Stream, Wanted

STREAM_PATH: Final = "/feed/events"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Asks nginx not to hold events back until a buffer is full.
    (b"x-accel-buffering", b"no"),
)
# Spread, so that viewers who were cut off together do not all come back at the same moment.
_RETRY_MS: Final = (2000, 6000)
_COME_BACK_S: Final = (30, 90)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """`hosts` are the host names that may be asked for; `proxies` addresses whose X-Forwarded-For counts.

    Who was sent nothing for `heartbeat_s` whole seconds gets a comment, so that no proxy closes the stream.
    """

    hosts: tuple[str, ...]
    proxies: tuple[str, ...]
    viewers: int
    viewers_of_one_address: int
    heartbeat_s: int


class _Refused(Exception):
    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class StreamApp:
    """An ASGI application for one path."""

    def __init__(self, stream: Stream, terms: StreamTerms) -> None:
        self._stream = stream
        self._terms = terms
        self._seats = Seats(in_all=terms.viewers, of_one_address=terms.viewers_of_one_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            question = self._check(scope)
            if scope["method"] == "HEAD":
                await _start(send)
                await send({"type": "http.response.body"})
                return
            async with AsyncExitStack() as held:
                woken, after, greeting = await self._let_in(scope, question, held)
                await receive()
                await _start(send)
                await self._watch(question.wanted, after, greeting, woken, receive, send)
        except _Refused as refused:
            await _refuse(send, refused)

    def _check(self, scope: Scope) -> Question:
        if scope["method"] not in ("GET", "HEAD"):
            raise _Refused(405, "The stream can only be read.", (b"allow", b"GET, HEAD"))
        try:
            check_host(scope, self._terms.hosts)
            return read_question(scope)
        except BadQuestion as bad:
            raise _Refused(400, str(bad)) from bad

    async def _let_in(
        self, scope: Scope, question: Question, held: AsyncExitStack
    ) -> tuple[asyncio.Event, int, bytes]:
        """A seat, and where the viewer begins; what is `held` is given back when it leaves."""
        try:
            held.enter_context(self._seats.taken_by(who_asks(scope, self._terms.proxies)))
            woken = await held.enter_async_context(self._stream.watching())
            after, reset = await self._begin(question.after)
        except Full as full:
            raise _busy("Too many are watching already.") from full
        except (DatabaseError, InterfaceError) as error:
            _log.exception("the database did not let a viewer in")
            raise _busy("The stream cannot be had at the moment.") from error
        # The id alone: who is cut off before the first event still knows where to go on.
        greeting = f"retry: {_between(_RETRY_MS)}\nid: {after}\n\n".encode()
        return woken, after, greeting + reset

    async def _begin(self, after: int | None) -> tuple[int, bytes]:
        if after is None:
            return self._stream.newest_id, b""
        try:
            await self._stream.reach(after)
        except Missed:
            return self._reset()
        return after, b""

    def _reset(self) -> tuple[int, bytes]:
        newest = self._stream.newest_id
        return newest, f"id: {newest}\nevent: reset\ndata: {{}}\n\n".encode()

    async def _watch(
        self, wanted: Wanted, after: int, greeting: bytes, woken: asyncio.Event, receive: Receive, send: Send
    ) -> None:
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: woken.set())
        clock = asyncio.get_running_loop().time
        text, beat = greeting, 0.0
        try:
            while True:
                # First, so that what happens during a slow `send` is not slept through.
                woken.clear()
                if gone.done():
                    return
                if text:
                    # Waits for one who is slow. The kernel ends the connection of one who takes nothing.
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                    beat = clock() + self._terms.heartbeat_s
                text, upto = self._next(after, wanted)
                if upto == after:
                    text = await self._wait(woken, beat, after)
                after = upto
        except asyncio.CancelledError:
            # The server stops. Streams that it had to break off would be errors in its log.
            await _end(send)
        finally:
            gone.cancel()

    def _next(self, after: int, wanted: Wanted) -> tuple[bytes, int]:
        try:
            piece = self._stream.since(after, wanted)
        except Missed:
            newest, reset = self._reset()
            return reset, newest
        return piece.text, piece.upto

    async def _wait(self, woken: asyncio.Event, beat: float, after: int) -> bytes:
        """Until there is something new; what to send when nothing was for a while.

        The comment carries the id too: who filters goes on from here, not from the last event it was sent.
        """
        try:
            async with asyncio.timeout_at(beat):
                await woken.wait()
        except TimeoutError:
            return f":\nid: {after}\n\n".encode()
        return b""


async def _start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})


async def _end(send: Send) -> None:
    try:
        # At once or not at all: a viewer who takes nothing must not hold up the server's end.
        async with asyncio.timeout(0):
            await send({"type": "http.response.body"})
    except TimeoutError:
        pass


def _busy(message: str) -> _Refused:
    return _Refused(503, message, (b"retry-after", str(_between(_COME_BACK_S)).encode()))


def _between(bounds: Sequence[int]) -> int:
    lowest, highest = bounds
    return lowest + secrets.randbelow(highest - lowest + 1)


async def _refuse(send: Send, refused: _Refused) -> None:
    body = json.dumps({"errors": [{"id": f"http_{refused.status}", "message": str(refused)}]}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *refused.headers,
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
