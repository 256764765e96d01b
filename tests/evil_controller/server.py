"""A controller that lies as a script tells it: a real HTTP server on loopback that records each byte.

with EvilController() as controller:
    controller.play("poll", replies.answer({"offers": []}))
    ...
    assert controller.requests("poll")

Replies of one call are played in order. When none is left the answer is an honest one, so that a script
names only what is wrong; an honest poll is held for a moment, as the real one is.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from tests.evil_controller.honest import honest_answer

_TLS_GREETING: Final = b"\x16\x03"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: `call` is the last part of the path, `headers` are in order and as written."""

    call: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of this name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Line:
    """The connection that a reply is written to; `over` is set when the server goes."""

    socket: socket.socket
    over: threading.Event

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.socket.sendall(data)


Reply = Callable[[Line, Request], bool]
"""Writes one answer. True: the connection may be used again."""


class EvilController:
    """Use it as a context manager. `tls` makes it speak https."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, hold_s: float = 0.2) -> None:
        self._tls = tls
        self._own = tls
        self._hold_s = hold_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._script: dict[str, list[Reply]] = {}
        self._requests: list[Request] = []
        self._received: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()

    def speak(self, tls: ssl.SSLContext | None) -> None:
        """From now on speak so with whoever connects. A greeting of TLS may get an answer in plain HTTP."""
        self._tls = tls

    def speak_as_before(self) -> None:
        """Speak as it was said at the beginning."""
        self._tls = self._own

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self._own else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were ever made to it."""
        with self._changed:
            return len(self._sockets)

    @property
    def received(self) -> bytes:
        """Every byte that ever came, of all connections."""
        with self._changed:
            return b"".join(self._received)

    def play(self, call: str, *replies: Reply) -> None:
        """Put replies at the end of what is to be played for this call."""
        with self._changed:
            self._script.setdefault(call, []).extend(replies)
            self._changed.notify_all()

    def requests(self, call: str | None = None) -> list[Request]:
        """What came so far, of one call or of all."""
        with self._changed:
            return [request for request in self._requests if call in (None, request.call)]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until the condition holds; it is looked at after each request and each 50 ms."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"not within {timeout_s} s; came: {[r.call for r in self._requests]}"
                    )
                self._changed.wait(0.05)

    def __enter__(self) -> "EvilController":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for one in self._sockets:
                _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _address = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            line = self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted
            with line:
                with self._changed:
                    self._sockets.append(line)
                rest = b""
                while (found := self._read(line, rest)) is not None:
                    request, rest = found
                    if not self._reply_to(request)(Line(line, self._over), request):
                        return
        except OSError:
            # The agent hung up, or refused our TLS.
            pass
        finally:
            _shut(accepted)

    def _read(self, line: socket.socket, data: bytes) -> tuple[Request, bytes] | None:
        while b"\r\n\r\n" not in data:
            data += (more := self._receive(line))
            if not more:
                return None
            if data.startswith(_TLS_GREETING):
                line.sendall(http_answer(200, honest_answer("hello", b"{}")[1]))
                return None
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ")
        headers = tuple((name, value.strip()) for name, _, value in (row.partition(":") for row in lines))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        while len(data) < length:
            data += (more := self._receive(line))
            if not more:
                return None
        request = Request(path.rsplit("/", 1)[-1], method, path, headers, data[:length])
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        return request, data[length:]

    def _receive(self, line: socket.socket) -> bytes:
        data = line.recv(65536)
        with self._changed:
            self._received.append(data)
        return data

    def _reply_to(self, request: Request) -> Reply:
        with self._changed:
            if request.call == "poll":
                self._changed.wait_for(lambda: self._over.is_set() or self._script.get("poll"), self._hold_s)
            script = self._script.get(request.call)
            return script.pop(0) if script else _honest


def _honest(line: Line, request: Request) -> bool:
    status, body = honest_answer(request.call, request.body)
    line.send(http_answer(status, body))
    return True


def http_answer(
    status: int, body: bytes, *, kind: str = "application/json", headers: dict[str, Any] | None = None
) -> bytes:
    """A whole HTTP answer as bytes."""
    rows = {"Content-Type": kind, "Content-Length": len(body)} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in rows.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + body


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
