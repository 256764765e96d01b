"""Bounds how many calls an application answers at once, since each holds a thread and a connection."""

import asyncio
import json
from typing import Final

from jobrunner.controller.edge import App, Message, Receive, Scope, Send, send_json

WAIT_S: Final = 10.0
_COME_BACK_S: Final = 5
_BUSY: Final = json.dumps(
    {"errors": [{"id": "busy", "message": "Too many are asking at once. Try again in a few seconds."}]}
).encode()


class AtOnce:
    """An ASGI application around another one whose answers are short.

    Who finds no place waits for one, as a coroutine; after `wait_s` seconds the answer is 503. A place is
    held while the answer is made, not while it is sent: who reads slowly, or not at all, keeps nobody out.
    """

    def __init__(self, app: App, *, places: int, wait_s: float = WAIT_S) -> None:
        self._app = app
        self._places = asyncio.Semaphore(places)
        self._wait_s = wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            await send_json(send, 503, _BUSY, (b"retry-after", str(_COME_BACK_S).encode()))
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            await self._app(scope, receive, keep)
        finally:
            self._places.release()
        for message in answer:
            await send(message)
