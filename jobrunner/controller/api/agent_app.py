"""The agents' API as an ASGI application of its own, in front of Django's views.

A waiting poll is a coroutine that listens for its backend's bell. It costs no thread and no database
connection; Django's middleware would hold a thread for each.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from django.db import Error as DatabaseTrouble
from django.db import close_old_connections

from jobrunner.controller.api.agent_calls import CALLS, Call, begin_poll, look
from jobrunner.controller.edge import AGENT_PATHS, Receive, Scope, Send, send_json
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.refusals import LOCKED, MALFORMED, SLOW_DOWN, Answer, Refused
from jobrunner.controller.jobs.wake import BELL, changes_of
from jobrunner.sync.messages import ATTEMPT_HEADER, ErrorReply, Poll, PollReply

T = TypeVar("T")

_DATABASE_THREADS: Final = 8
_POLLS_OF_ONE_AGENT: Final = 4
_SAME_ANSWER_AFTER_S: Final = 5.0
_LOOK_AGAIN_AFTER_S: Final = 5.0
_OTHER_PROCESSES_S: Final = 1.0
_NOTHING: Final = PollReply(offers=(), cancels=(), pause=False, retry_after=None)

_log = logging.getLogger(__name__)


class AgentApp:
    """Answers POST /api/v1/agent/{hello,poll,claim,renew,events}."""

    def __init__(self, terms: Terms, *, long_poll_s: float) -> None:
        self._terms = terms
        self._long_poll_s = long_poll_s
        self._pool = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="agent-api")
        self._told: dict[int, tuple[Poll, PollReply]] = {}
        self._seen: dict[int, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Refused as refused:
            await _send_error(send, refused.answer)
        except DatabaseTrouble:
            _log.exception("the database did not answer an agent")
            await _send_error(send, LOCKED)
        except Exception:  # noqa: BLE001 - one bad call must neither look like an answer nor end the server
            _log.exception("a call of an agent failed")
            await _send_error(send, Answer(500, LOCKED.code))
        else:
            if answer is not None:
                await send_json(send, 200, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes | None:
        name = scope["path"].removeprefix(AGENT_PATHS)
        if name != "poll" and name not in CALLS:
            raise Refused(Answer(404, MALFORMED.code))
        if scope["method"] != "POST":
            raise Refused(Answer(405, MALFORMED.code))
        call = await _read_call(scope, receive)
        if name == "poll":
            reply = await self._poll(call, receive)
            return None if reply is None else reply.to_bytes()
        return (await self._in_thread(lambda: CALLS[name](call, self._terms))).to_bytes()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _with_connection, work)

    async def _poll(self, call: Call, receive: Receive) -> PollReply | None:
        """Hold the answer until there is news; None when the agent went away meanwhile."""
        agent, poll = await self._in_thread(lambda: begin_poll(call))
        if BELL.listeners(agent.pk) >= _POLLS_OF_ONE_AGENT:
            raise Refused(SLOW_DOWN)
        began = time.monotonic()
        gone = asyncio.ensure_future(receive())
        try:
            with BELL.listen(agent.pk) as rung:
                while True:
                    rung.clear()
                    reply, self._seen[agent.pk] = await self._in_thread(
                        lambda: look(agent.pk, poll, self._terms)
                    )
                    waited = time.monotonic() - began
                    hold = hold_for(poll, reply, self._told.get(agent.pk)) - waited
                    left = self._long_poll_s - waited
                    if hold <= 0 or left <= 0:
                        self._told[agent.pk] = (poll, reply)
                        return reply
                    await _first_of(rung, gone, min(hold, left, _LOOK_AGAIN_AFTER_S))
                    if gone.done():
                        return None
        finally:
            gone.cancel()

    async def watch_other_processes(self) -> None:
        """Ring for backends that another process changed; one small query a second, if anybody waits."""
        while True:
            await asyncio.sleep(_OTHER_PROCESSES_S)
            waiting = BELL.backends()
            if not waiting:
                continue
            try:
                found = await self._in_thread(partial(changes_of, waiting))
            except DatabaseTrouble:
                _log.exception("the database did not tell its changes")
                continue
            for backend, changes in found.items():
                if self._seen.get(backend, changes) != changes:
                    BELL.ring(backend)


def hold_for(poll: Poll, reply: PollReply, told: tuple[Poll, PollReply] | None) -> float:
    """How many seconds, from its start, a poll's answer may be held because it is no news.

    News goes out at once. The same answer to the same question is held for a while, so that an agent that
    can do nothing about it does not spin, and sent again then, since the first may have been lost.
    """
    before = told[1] if told is not None else _NOTHING
    if not reply.offers and not reply.cancels and reply.pause == before.pause:
        return float("inf")
    if told == (poll, reply):
        return _SAME_ANSWER_AFTER_S
    return 0.0


async def _first_of(rung: asyncio.Event, gone: "asyncio.Future[Any]", seconds: float) -> None:
    ring = asyncio.ensure_future(rung.wait())
    try:
        await asyncio.wait((ring, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ring.cancel()


async def _read_call(scope: Scope, receive: Receive) -> Call:
    headers: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, []).append(value)
    message = await receive()
    kind = _single(headers, b"content-type") or ""
    if kind.split(";")[0].strip().lower() != "application/json":
        raise Refused(MALFORMED)
    scheme, _, credential = (_single(headers, b"authorization") or "").partition(" ")
    return Call(
        credential=credential if scheme.lower() == "bearer" and credential else None,
        attempt_token=_single(headers, ATTEMPT_HEADER.lower().encode()),
        body=message.get("body", b""),
    )


def _single(headers: dict[bytes, list[bytes]], name: bytes) -> str | None:
    """A header's value; one that is given twice counts as not given."""
    values = headers.get(name, [])
    return values[0].decode("latin-1") if len(values) == 1 else None


def _with_connection(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        close_old_connections()


async def _send_error(send: Send, answer: Answer) -> None:
    await send_json(send, answer.status, ErrorReply(error=answer.code).to_bytes())
