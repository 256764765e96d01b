"""Calls over lines to an engine that hangs, cuts, closes or sends elsewhere."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from jobrunner.executors.base import EngineError
from jobrunner.executors.engine import Engine
from jobrunner.executors.engine_line import LineClient

pytestmark = pytest.mark.http

VERSION = b'{"ApiVersion": "1.41"}'


def answer(body: bytes, status: str = "200 OK", *, length: int | None = None, more: str = "") -> bytes:
    said = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {said}\r\n{more}\r\n".encode() + body


class Script:
    """A server on a socket of its own that gives each request the next answer and then stays or goes."""

    def __init__(self, path: str) -> None:
        self.url = f"http+unix://{path}"
        self.lines = 0
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        self.closes = False
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._open:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _address = self._listener.accept()
            except OSError:
                return
            self.lines += 1
            self._open.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        # A line may end at any time, by the client or by the end of the test.
        with contextlib.suppress(OSError):
            self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        while request := line.recv(65536):
            self.requests.append(request)
            if b"/version" in request:
                line.sendall(answer(VERSION))
            elif self.answers:
                line.sendall(self.answers.pop(0))
                if self.closes:
                    line.shutdown(socket.SHUT_RDWR)
                    return


@pytest.fixture
def engine() -> Iterator[Script]:
    # Of the abstract kind there would be no path; a short one fits into an address.
    path = f"/tmp/line-{os.getpid()}.sock"
    made = Script(path)
    yield made
    made.close()
    Path(path).unlink()


@pytest.fixture
def client(engine: Script) -> Iterator[LineClient]:
    made = LineClient(engine.url, timeout=2)
    yield made
    made.close()


def test_one_line_serves_call_after_call(engine: Script, client: LineClient) -> None:
    engine.answers = [answer(b'{"Id": "one"}'), answer(b'{"Id": "two"}')]
    assert client.inspect_container("one")["Id"] == "one"
    assert client.inspect_container("two")["Id"] == "two"
    assert engine.lines == 1


def test_a_line_that_the_engine_closed_is_not_used_again(engine: Script, client: LineClient) -> None:
    engine.answers = [answer(b'{"Id": "one"}'), answer(b'{"Id": "two"}')]
    engine.closes = True
    client.inspect_container("one")
    assert client.inspect_container("two")["Id"] == "two"
    assert engine.lines == 2


def test_what_follows_an_interim_answer_is_no_answer_to_the_next_call(
    engine: Script, client: LineClient
) -> None:
    engine.answers = [b"HTTP/1.1 102 Processing\r\n\r\n", answer(b'{"Id": "two"}')]
    with contextlib.suppress(Exception):
        client.inspect_container("one")
    assert client.inspect_container("two")["Id"] == "two"
    assert engine.lines == 2


def test_a_redirect_is_not_followed(engine: Script, client: LineClient) -> None:
    engine.answers = [answer(b"", "301 Moved Permanently", more="Location: /v1.41/elsewhere\r\n")]
    with pytest.raises(requests.exceptions.TooManyRedirects):
        client.start("one")
    assert not any(b"elsewhere" in request for request in engine.requests)


def test_an_answer_that_is_cut_is_none_and_ends_its_line(engine: Script, client: LineClient) -> None:
    # Whole JSON: only the length tells that there was to be more.
    engine.answers = [answer(b'{"Id": "one"}', length=100), answer(b'{"Id": "two"}')]
    engine.closes = True
    with pytest.raises(requests.exceptions.ConnectionError):
        client.inspect_container("one")
    assert client.inspect_container("two")["Id"] == "two"


def test_an_engine_that_says_nothing_is_left_at_the_deadline(engine: Script) -> None:
    client = LineClient(engine.url, timeout=1)
    began = time.monotonic()
    with pytest.raises(requests.exceptions.ConnectionError):
        client.inspect_container("one")
    assert 0.9 < time.monotonic() - began < 3
    # What comes late on that line is no answer to the next call.
    engine.answers = [answer(b'{"Id": "two"}')]
    assert client.inspect_container("two")["Id"] == "two"
    assert engine.lines == 2
    client.close()


def test_nothing_of_the_environment_or_of_the_engine_goes_along(
    engine: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    client = LineClient(engine.url, timeout=2)
    engine.answers = [answer(b"{}", more="Set-Cookie: mark=canary\r\n"), answer(b"{}")]
    client.inspect_container("one")
    client.inspect_container("two")
    names = {line.partition(b":")[0] for request in engine.requests for line in request.split(b"\r\n")[1:-2]}
    assert names == {b"Host", b"Accept-Encoding"}
    client.close()


def test_https_is_no_way_to_an_engine() -> None:
    with pytest.raises(EngineError, match="a socket or by http"):
        Engine("https://127.0.0.1:9")


def test_a_log_that_is_shorter_than_it_says_is_no_log(engine: Script) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b"\x01\x00\x00\x00\x00\x00\x00\x01x", length=100)]
    engine.closes = True
    with pytest.raises(EngineError, match="before the end that it said"):
        list(client.log("one"))
    client.close()
