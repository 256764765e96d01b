"""One line to the controller: requests one after the other, and answers bounded in time and size.

Python's own HTTP connection follows no redirect, keeps no cookie, repeats nothing and looks nothing up in the
environment, so nothing of that has to be switched off; it also costs a third of what a session for web
sites does. What it lacks is here: the timeout of a socket starts anew with every byte, so by itself it would
let one answer last for days, and an answer's framing may be of any length (threats.md P05).
"""

import http.client
import io
import selectors
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import certifi

_CONNECT_S: Final = 10.0
_HEAD_BYTES: Final = 256 * 1024
# What chunks have around them counts too: a chunk of one byte takes six.
_WIRE_BYTES_PER_BYTE: Final = 8
_SLOW: Final = "an answer that is too slow"


class NoAnswer(Exception):
    """No whole answer came within its limits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, media type in lower case without its parameters, encoding of the body, and the body."""

    status: int
    kind: str
    encoding: str
    body: bytes


class Line:
    """To one address `http[s]://host[:port][/path]`; kept open between calls. Not for two threads at once.

    `ca_file` holds the authorities that are trusted; without it the public ones are.
    """

    def __init__(self, url: str, ca_file: str | None) -> None:
        self._url = urlsplit(url)
        self._ca_file = ca_file
        self._open: http.client.HTTPConnection | None = None

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, head_s: float, body_s: float, limit: int
    ) -> Answer:
        """The answer to one request, of which nothing is repeated here.

        Its head comes within `head_s` seconds, its body within `body_s` more and has at most `limit` bytes;
        otherwise, or when it is cut, NoAnswer is raised.
        """
        try:
            with ExitStack() as at_end:
                connection = self._connection()
                at_end.callback(connection.close)
                connection.sock.settimeout(head_s)
                connection.request("POST", f"{self._url.path}{path}", body, dict(headers))
                answer: Any = connection.getresponse()
                at_end.callback(answer.close)
                if len(set(answer.headers.get_all("Content-Length", []))) > 1:
                    raise NoAnswer("an answer with two values of Content-Length")
                if answer.length is None and not answer.chunked:
                    # Whether it is whole or was cut, nobody could tell.
                    raise NoAnswer("an answer without a length")
                answer.reader.allow(body_s, limit * _WIRE_BYTES_PER_BYTE)
                content = answer.read(limit + 1)
                if len(content) > limit:
                    raise NoAnswer("an answer that is too long")
                if answer.length:
                    raise NoAnswer("an answer that is cut")
                # After a status of 1xx another answer to the same question follows.
                if not answer.will_close and answer.status >= 200:
                    self._open = connection
                    # Whole and in time: the line serves the next request.
                    at_end.pop_all()
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        return Answer(
            status=answer.status,
            kind=answer.headers.get("Content-Type", "").split(";")[0].strip().lower(),
            encoding=answer.headers.get("Content-Encoding", "identity"),
            body=content,
        )

    def close(self) -> None:
        """Give the connection back."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> http.client.HTTPConnection:
        kept, self._open = self._open, None
        if kept is not None:
            if not _has_something(kept.sock):
                return kept
            kept.close()
        return self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        is_secure = self._url.scheme == "https"
        # Without a port Python would look for one in the address.
        host, port = self._url.hostname or "", self._url.port or (443 if is_secure else 80)
        made: http.client.HTTPConnection
        if is_secure:
            context = _trusting(self._ca_file) if self._ca_file else _trusting_the_public()
            made = http.client.HTTPSConnection(host, port, timeout=_CONNECT_S, context=context)
        else:
            made = http.client.HTTPConnection(host, port, timeout=_CONNECT_S)
        made.response_class = _BoundedResponse
        made.connect()
        return made


class _BoundedResponse(http.client.HTTPResponse):
    """Whoever makes it has set the socket's timeout to the seconds for the head."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self.reader = _Reader(sock)
        super().__init__(self.reader, *arguments, **options)  # type: ignore[arg-type]  # only makefile is used


class _Reader(io.RawIOBase):
    """Reads from a socket until a moment, however many reads that takes, and not more than so many bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)
        self.allow(sock.gettimeout() or 0.0, _HEAD_BYTES)

    def allow(self, seconds: float, size: int) -> None:
        """From now on, seconds and bytes."""
        self._until = time.monotonic() + seconds
        self._left = size

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What a response reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Number of bytes that came; 0 at the end. Raises OSError beyond a limit."""
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError(_SLOW)
        self._socket.settimeout(seconds)
        try:
            count = self._file.readinto(buffer)
        except TimeoutError as error:
            raise TimeoutError(_SLOW) from error
        self._left -= count or 0
        if self._left < 0:
            raise OSError("an answer with too much around it")
        return count

    def close(self) -> None:
        """Give up its hold on the socket."""
        self._file.close()
        super().close()


def _has_something(sock: socket.socket) -> bool:
    """Whether there is something to read before anything is asked: then the other side has closed it."""
    # What lies in the TLS layer was taken from the socket already.
    pending = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
    if pending:
        return True
    with selectors.PollSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


@cache
def _trusting_the_public() -> ssl.SSLContext:
    return _trusting(certifi.where())


def _trusting(ca_file: str) -> ssl.SSLContext:
    # It asks for a certificate of these authorities for this very name, and looks at no variable of the
    # environment.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_COMPRESSION
    context.load_verify_locations(ca_file)
    return context
