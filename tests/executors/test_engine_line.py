"""Calls over lines to an engine that hangs, cuts, closes or sends elsewhere."""

import contextlib
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner.executors.base import EngineError, SandboxRefused
from jobrunner.executors.engine import Engine, NameTaken
from jobrunner.executors.engine_line import EngineLine, LineBroken

pytestmark = pytest.mark.http

VERSION = b'{"ApiVersion": "1.41"}'


def answer(body: bytes, status: str = "200 OK", *, length: int | None = None, more: str = "") -> bytes:
    said = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {said}\r\n{more}\r\n".encode() + body


class Script:
    """A server on a socket of its own that gives each request the next answer and then stays or goes."""

    def __init__(self, path: str) -> None:
        self.url = f"unix://{path}"
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
        while request := _whole_request(line):
            self.requests.append(request)
            if b"/version" in request:
                line.sendall(answer(VERSION))
            elif self.answers:
                line.sendall(self.answers.pop(0))
                if self.closes:
                    line.shutdown(socket.SHUT_RDWR)
                    return


def _whole_request(line: socket.socket) -> bytes:
    """Head and body, in however many pieces they come; empty at the end."""
    got, left = b"", 1
    while left > 0:
        piece = line.recv(65536)
        if not piece:
            return b""
        got += piece
        head, end, body = got.partition(b"\r\n\r\n")
        said = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
        left = int(said[1] if said else 0) - len(body) if end else 1
    return got


@pytest.fixture
def engine() -> Iterator[Script]:
    # Of the abstract kind there would be no path; a short one fits into an address.
    path = f"/tmp/line-{os.getpid()}.sock"
    made = Script(path)
    yield made
    made.close()
    Path(path).unlink()


@pytest.fixture
def client(engine: Script) -> Iterator[EngineLine]:
    made = EngineLine(engine.url, timeout=2)
    yield made
    made.close()


def test_one_line_serves_call_after_call(engine: Script, client: EngineLine) -> None:
    engine.answers = [answer(b'{"Id": "one"}'), answer(b'{"Id": "two"}')]
    assert client.ask("GET", "/containers/one/json")["Id"] == "one"
    assert client.ask("GET", "/containers/two/json")["Id"] == "two"
    assert engine.lines == 1


def test_a_line_that_the_engine_closed_is_not_used_again(engine: Script, client: EngineLine) -> None:
    engine.answers = [answer(b'{"Id": "one"}'), answer(b'{"Id": "two"}')]
    engine.closes = True
    client.ask("GET", "/containers/one/json")
    assert client.ask("GET", "/containers/two/json")["Id"] == "two"
    assert engine.lines == 2


def test_what_follows_an_interim_answer_is_no_answer_to_the_next_call(
    engine: Script, client: EngineLine
) -> None:
    engine.answers = [b"HTTP/1.1 102 Processing\r\n\r\n", answer(b'{"Id": "two"}')]
    with pytest.raises(ValueError, match="status 102"):
        client.ask("GET", "/containers/one/json")
    assert client.ask("GET", "/containers/two/json")["Id"] == "two"
    assert engine.lines == 2


def test_a_redirect_is_not_followed(engine: Script, client: EngineLine) -> None:
    engine.answers = [answer(b"", "301 Moved Permanently", more="Location: /v1.41/elsewhere\r\n")]
    with pytest.raises(ValueError, match="status 301"):
        client.ask("POST", "/containers/one/start")
    assert not any(b"elsewhere" in request for request in engine.requests)


def test_an_answer_that_is_cut_is_none_and_ends_its_line(engine: Script, client: EngineLine) -> None:
    # Whole JSON: only the length tells that there was to be more.
    engine.answers = [answer(b'{"Id": "one"}', length=100), answer(b'{"Id": "two"}')]
    engine.closes = True
    with pytest.raises(LineBroken):
        client.ask("GET", "/containers/one/json")
    assert client.ask("GET", "/containers/two/json")["Id"] == "two"


def test_an_engine_that_says_nothing_is_left_at_the_deadline(engine: Script) -> None:
    client = EngineLine(engine.url, timeout=1)
    began = time.monotonic()
    with pytest.raises(LineBroken):
        client.ask("GET", "/containers/one/json")
    assert 0.9 < time.monotonic() - began < 3
    # What comes late on that line is no answer to the next call.
    engine.answers = [answer(b'{"Id": "two"}')]
    assert client.ask("GET", "/containers/two/json")["Id"] == "two"
    assert engine.lines == 2
    client.close()


def test_nothing_of_the_environment_or_of_the_engine_goes_along(
    engine: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    proxies = {"default": {"httpProxy": "http://127.0.0.1:9/canary"}}
    (tmp_path / ".docker" / "config.json").write_text(
        json.dumps({"HttpHeaders": {"X-Mark": "canary"}, "proxies": proxies})
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client = Engine(engine.url)
    engine.answers = [answer(b'{"Id": "one"}', more="Set-Cookie: mark=canary\r\n"), answer(b'{"Id": "two"}')]
    client.inspect("one")
    client.create("two", {"Image": "three"})
    heads, bodies = zip(*(request.split(b"\r\n\r\n", 1) for request in engine.requests), strict=True)
    names = {line.partition(b":")[0] for head in heads for line in head.split(b"\r\n")[1:]}
    assert names == {b"Host", b"Accept-Encoding", b"Content-Length", b"Content-Type"}
    assert [body for body in bodies if body] == [b'{"Image": "three"}']
    client.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:9",
        "http://127.0.0.1",
        "http://127.0.0.1:9/path",
        "http://127.0.0.1:9?x",
        "http://user:secret@127.0.0.1:9",
        "http://[::1]",
        "http://[::1]x:9",
        " http://127.0.0.1:9",
        "127.0.0.1:9",
        "unix://",
        "unix://host/path",
        "unix:///path/",
        "/a",
        "ssh://user@127.0.0.1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:67911",
        "tcp://[1234]:9",
        "tcp://[abc]:9",
    ],
)
def test_other_ways_to_an_engine_are_refused(url: str) -> None:
    with pytest.raises(EngineError, match="must be unix:///path or tcp://host:port") as refused:
        Engine(url)
    assert "secret" not in str(refused.value)
    assert "connect" not in str(refused.value), "nobody was asked"


@pytest.mark.parametrize("place", ["a b", "what?", "café", "a_b"])
def test_a_socket_is_where_its_address_says(place: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        script = Script(f"{folder}/{place}")
        EngineLine(script.url, timeout=2).close()
        script.close()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:{port}", "http://127.0.0.1:{port}/", "http://[::1]:{port}"])
def test_an_engine_is_reached_over_a_network(url: str) -> None:
    family = socket.AF_INET6 if "::" in url else socket.AF_INET
    with socket.create_server(("::1" if "::" in url else "127.0.0.1", 0), family=family) as server:
        threading.Thread(target=_answer_once, args=(server,), daemon=True).start()
        EngineLine(url.format(port=server.getsockname()[1]), timeout=2).close()


def _answer_once(server: socket.socket) -> None:
    line, _address = server.accept()
    with line:
        line.recv(65536)
        line.sendall(answer(VERSION))


@pytest.mark.parametrize("said", [b'{"ApiVersion": "1/../x"}', b'{"ApiVersion": 1.41}', b"{}", b"[]", b"x"])
def test_an_engine_that_does_not_say_its_version_is_none(
    engine: Script, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(f"{__name__}.VERSION", said)
    with pytest.raises(EngineError, match="no proper answer"):
        Engine(engine.url)


def test_what_an_engine_finds_wrong_is_refused_in_its_words(engine: Script) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b'{"message": "no such setting"}', "400 Bad Request")]
    with pytest.raises(SandboxRefused, match=r": no such setting$"):
        client.start("one")
    client.close()


def test_an_engine_of_another_version_is_trouble_and_no_refusal(engine: Script) -> None:
    client = Engine(engine.url)
    said = b'{"message": "client version 1.41 is too old. Minimum supported API version is 1.44"}'
    engine.answers = [answer(said, "400 Bad Request")]
    with pytest.raises(EngineError, match="too old"):
        client.create("one", {"Image": "two"})
    client.close()


def test_trouble_of_an_engine_is_told_in_its_words(engine: Script) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b'{"message": "it is so"}', "500 Internal Server Error")]
    with pytest.raises(EngineError, match=r": it is so$"):
        client.inspect("one")
    client.close()


@pytest.mark.parametrize("body", [b"", b"page not found", b'{"message": null}', b"[]"])
@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "409 Conflict", "500 Internal Server Error"]
)
def test_an_error_without_a_message_is_none_of_the_engine(engine: Script, status: str, body: bytes) -> None:
    # A way through the network that does not know this path must not pass for "there is no such image".
    client = Engine(engine.url)
    engine.answers = [answer(body, status)] * 2
    for ask in (client.image, client.start):
        with pytest.raises(EngineError, match=f"no proper answer .status {status[:3]}"):
            ask("sha256:one")
    client.close()


def test_what_is_not_there_or_done_already_is_no_error(engine: Script) -> None:
    client = Engine(engine.url)
    missing = answer(b'{"message": "No such container: one"}', "404 Not Found")
    engine.answers = [missing] * 5
    assert client.image("one") is None
    assert client.inspect("one") is None
    client.stop("one", 1)
    client.wait("one", 1)
    client.remove("one", force=True)
    conflict = answer(b'{"message": "it runs"}', "409 Conflict")
    nothing_to_do = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    engine.answers = [conflict, nothing_to_do, nothing_to_do]
    client.remove("one", force=False)
    client.start("one")
    client.stop("one", 1)
    engine.answers = [missing, conflict]
    with pytest.raises(SandboxRefused, match="has no image sha256:two"):
        client.create("one", {"Image": "sha256:two"})
    with pytest.raises(NameTaken):
        client.create("one", {"Image": "sha256:two"})
    client.close()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_waiting_ends_at_its_deadline(engine: Script, head: bytes) -> None:
    # Engines send the head at once.
    client = Engine(engine.url)
    engine.answers = [head]
    began = time.monotonic()
    client.wait("one", 0.5)
    assert 0.4 < time.monotonic() - began < 2
    client.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'"Id"', b"{", b"\xff", b"[" * 100_000])
def test_an_answer_of_another_kind_is_an_engine_error(engine: Script, body: bytes) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(body)]
    with pytest.raises(EngineError, match="no proper answer"):
        client.inspect("one")
    client.close()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_question_is_not_answered_by_nothing(engine: Script, status: str) -> None:
    client = Engine(engine.url)
    engine.answers = [f"HTTP/1.1 {status}\r\n\r\n".encode()] * 2
    with pytest.raises(EngineError, match="no proper answer"):
        client.inspect("one")
    with pytest.raises(EngineError, match="no proper answer"):
        list(client.log("one"))
    client.close()


@pytest.mark.parametrize("length", [10**24, 2**63])
def test_a_length_beyond_measure_is_an_engine_error(engine: Script, length: int) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b"{}", length=length)]
    engine.closes = True
    with pytest.raises(EngineError):
        client.inspect("one")
    client.close()


@pytest.mark.parametrize("listed", [b'[{"Labels": null}]', b'[{"Labels": {"jobrunner.agent": "a"}}]', b"[1]"])
def test_a_list_of_something_else_is_an_engine_error(engine: Script, listed: bytes) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(listed)]
    with pytest.raises(EngineError, match="no proper answer"):
        client.containers("a")
    client.close()


def test_a_name_is_one_part_of_a_path(engine: Script) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b"{}")]
    client.inspect("../images/x?all=1")
    assert engine.requests[-1].startswith(b"GET /v1.41/containers/..%2Fimages%2Fx%3Fall%3D1/json HTTP/1.1")
    client.close()


def test_a_log_that_is_shorter_than_it_says_is_no_log(engine: Script) -> None:
    client = Engine(engine.url)
    engine.answers = [answer(b"\x01\x00\x00\x00\x00\x00\x00\x01x", length=100)]
    engine.closes = True
    with pytest.raises(EngineError, match="before the end that it said"):
        list(client.log("one"))
    client.close()
