"""The line to a Docker engine: its HTTP API, on Python's own connections.

The engine's SDK is a session for web sites: cookies, redirects, proxies, hooks, passwords of the environment
and of a home folder. None of it belongs between an agent and its engine, and it would take half of the time
of each call and a tenth of an idle agent's memory.
"""

import http.client
import json
import re
import selectors
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

_SOCKET: Final = "unix:///var/run/docker.sock"
_SOCKET_ADDRESS: Final = re.compile(r"unix://(/.*[^/])")
# What DOCKER_HOST calls tcp is HTTP.
_HTTP_ADDRESS: Final = re.compile(
    r"(?:tcp|http)://(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]):([0-9]{1,5})/?"
)
_LAST_PORT: Final = 65535
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_IDLE: Final = 256
_SAID_CHARACTERS: Final = 1000


class LineBroken(OSError):
    """The engine cannot be reached, or its answer did not come whole and in time."""


class Refused(Exception):
    """The engine answered with an HTTP status of 400 or more; the text is its message, cut."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class BadAddress(Exception):
    """What was given is no address of an engine; nobody was asked."""


class EngineLine:
    """Lines to one engine, `unix:///path` or `tcp://host:port`; safe to use from several threads.

    No socket operation takes longer than `timeout` seconds. Raises BadAddress, LineBroken, Refused, and
    ValueError, OverflowError or RecursionError for an answer that is none of an engine.
    """

    def __init__(self, url: str | None, *, timeout: float) -> None:
        self._place = _place(url or _SOCKET)
        self._timeout = timeout
        # Lines that are open and on which nothing is asked.
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._prefix = ""
        version = self.ask("GET", "/version").get("ApiVersion")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise ValueError("it does not say which version of the API it speaks")
        self._prefix = f"/v{version}"

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The JSON object that answers one call; empty where the answer has no content.

        `path` is what follows the version, its parts as `part` makes them.
        """
        answer = self._json(method, path, query, body, timeout)
        if not isinstance(answer, dict):
            raise ValueError("it answers with something that is no object")
        return answer

    def ask_for_list(self, path: str, query: Mapping[str, str]) -> list[Any]:
        """The JSON list that answers one call."""
        answer = self._json("GET", path, query, None, None)
        if not isinstance(answer, list):
            raise ValueError("it answers with something that is no list")
        return answer

    @contextmanager
    def stream(self, path: str, query: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """The answer to one call, whose body the caller reads."""
        connection, answer = self._send("GET", path, query, None, None)
        try:
            if answer.status != http.client.OK:
                _check(answer.status, answer.read())
                raise ValueError(f"status {answer.status} instead of a stream")
            yield answer
        finally:
            answer.close()
            connection.close()

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: float | None,
    ) -> Any:
        connection, answer = self._send(method, path, query, body, timeout)
        with ExitStack() as at_end:
            at_end.callback(connection.close)
            try:
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise LineBroken(str(error)) from error
            # After a status of 1xx another answer to the same call follows.
            if not answer.will_close and answer.status >= 200 and len(self._idle) < _IDLE:
                self._idle.append(connection)
                at_end.pop_all()
        # The second is what a start or a stop answers where there is nothing to do.
        if method != "GET" and answer.status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED):
            return {}
        _check(answer.status, content)
        return json.loads(content)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: float | None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode("utf-8")
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection = self._line(self._timeout if timeout is None else timeout)
        try:
            connection.request(method, target, content, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise LineBroken(str(error)) from error

    def _line(self, timeout: float) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._new_line(timeout)
            # Something to read before anything is asked: the engine has closed it.
            if not _has_something(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def _new_line(self, timeout: float) -> http.client.HTTPConnection:
        if isinstance(self._place, str):
            return _UnixConnection(self._place, timeout)
        return http.client.HTTPConnection(*self._place, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _place(url: str) -> str | tuple[str, int]:
    """Path of a socket, or host and port."""
    if local := _SOCKET_ADDRESS.fullmatch(url):
        return local[1]
    if over_a_network := _HTTP_ADDRESS.fullmatch(url):
        name, address, port = over_a_network.groups()
        # A larger one would be cut to another one.
        if 0 < int(port) <= _LAST_PORT:
            return name or address, int(port)
    # It is not quoted, as it may hold a password.
    raise BadAddress("the engine's address (DOCKER_HOST) must be unix:///path or tcp://host:port")


def part(name: str) -> str:
    """A name or id as one part of a path."""
    return quote(name, safe=":")


def _has_something(sock: socket.socket) -> bool:
    with selectors.PollSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _check(status: int, content: bytes) -> None:
    if 200 <= status < 300:
        return
    message = _message(content) if status >= 400 else None
    if message is None:
        # It is somebody else on the way, who does not know this path or this caller.
        raise ValueError(f"status {status} without a message of an engine")
    raise Refused(status, message[:_SAID_CHARACTERS])


def _message(content: bytes) -> str | None:
    try:
        message = json.loads(content)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return message if isinstance(message, str) else None
