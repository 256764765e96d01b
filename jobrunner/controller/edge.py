"""The outermost layer: checks address and body of every request, puts the security headers on every answer.

It stands in front of Django, so that error pages, static files and the agents' API are covered alike
(threats.md P06, P18).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 30
AGENT_PATHS: Final = "/api/v1/agent/"

_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), interest-cohort=()"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class CallRefused(Exception):
    """The address cannot be one of ours, or the body is too long or comes too slowly."""

    def __init__(self, status: int, word: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.word = word


class Edge:
    """An ASGI application around another one."""

    def __init__(self, app: App, *, https: bool) -> None:
        self._app = app
        self._headers = (*HEADERS, _HSTS) if https else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._with_headers(scope["path"], send)
        try:
            check_address(scope)
            body = await read_body(scope, receive)
        except CallRefused as refused:
            await _refuse(scope["path"], refused, guarded)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), guarded)

    def _with_headers(self, path: str, send: Send) -> Send:
        ours = {name for name, _ in self._headers}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                if path.startswith("/api/"):
                    kept = [pair for pair in kept if pair[0].lower() != b"cache-control"]
                    kept.append((b"cache-control", b"no-store"))
                elif not any(pair[0].lower() == b"cache-control" for pair in kept):
                    kept.append((b"cache-control", b"no-cache"))
                message["headers"] = [*kept, *self._headers]
            await send(message)

        return guarded


def check_address(scope: Scope) -> None:
    """Raise CallRefused for an address with a NUL, which a database takes for an error or for an end."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise CallRefused(400, "malformed", "The address holds a NUL, which no address of ours does.")


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None when the caller went away; raises CallRefused beyond 64 KiB or 30 s."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
            raise _too_long()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise _too_long()
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise CallRefused(408, "too_slow", "The request took too long to arrive.") from error


def _too_long() -> CallRefused:
    return CallRefused(413, "too_large", f"A request has at most {MAX_BODY_BYTES} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body in one piece; after that, what comes from the server (that the caller went away)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(path: str, refused: CallRefused, send: Send) -> None:
    answer: dict[str, Any] = {"errors": [{"id": refused.word, "message": str(refused)}]}
    if path.startswith(AGENT_PATHS):
        answer = {"error": "bad_request"}
    await send_json(send, refused.status, json.dumps(answer).encode(), (b"connection", b"close"))


async def send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """One whole JSON answer, with these headers besides its own."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
