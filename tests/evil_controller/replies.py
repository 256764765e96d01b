"""What a script may answer: lies, delays, cuts and silence."""

import json
import time
from typing import Any

from tests.evil_controller.server import Line, Reply, Request, http_answer


def answer(
    value: Any, *, status: int = 200, kind: str = "application/json", headers: dict[str, Any] | None = None
) -> Reply:
    """A well-formed answer: bytes as they are, anything else as JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()

    def reply(line: Line, _request: Request) -> bool:
        line.send(http_answer(status, body, kind=kind, headers=headers))
        return True

    return reply


def raw(data: bytes) -> Reply:
    """These bytes, then the connection ends."""

    def reply(line: Line, _request: Request) -> bool:
        line.send(data)
        return False

    return reply


def cut(value: Any, *, keep: int) -> Reply:
    """The head of a whole answer and the first `keep` bytes of its body."""
    body = json.dumps(value).encode()
    whole = http_answer(200, body)
    return raw(whole[: len(whole) - len(body) + keep])


def hang() -> Reply:
    """The request is taken and nothing ever comes."""

    def reply(line: Line, _request: Request) -> bool:
        line.over.wait()
        return False

    return reply


def drip(data: bytes, *, every_s: float, at_once: int = 0) -> Reply:
    """The first `at_once` bytes, then one byte at a time."""

    def reply(line: Line, _request: Request) -> bool:
        line.send(data[:at_once])
        for byte in data[at_once:]:
            if line.over.wait(every_s):
                break
            line.send(bytes([byte]))
        return False

    return reply


def late(seconds: float, then: Reply) -> Reply:
    """Another reply, later."""

    def reply(line: Line, request: Request) -> bool:
        time.sleep(seconds)
        return then(line, request)

    return reply
