"""Reading the log of a container from an engine that sends what it likes."""

import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobrunner.executors.base import EngineError
from jobrunner.executors.engine import Engine
from tests.fixtures.http_serving import serving

pytestmark = pytest.mark.http

OUT, ERR = 1, 2


class Answers(ThreadingHTTPServer):
    """Answers as an engine would of which somebody asks the version and one log."""

    status = 200
    log = b""


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        is_log = self.path.partition("?")[0].endswith("/containers/one/logs")
        body = self.server.log if is_log else b'{"ApiVersion": "1.41"}'
        self.send_response(self.server.status if is_log else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    with serving(Answers(("127.0.0.1", 0), Handler)) as server:
        yield server


@pytest.fixture
def engine(answers: Answers) -> Iterator[Engine]:
    made = Engine(f"http://127.0.0.1:{answers.server_port}")
    yield made
    made.close()


def piece(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BxxxL", kind, len(content) if length is None else length) + content


def test_pieces_come_in_their_order_whatever_they_hold(answers: Answers, engine: Engine) -> None:
    answers.log = (
        piece(OUT, b"one\n") + piece(ERR, b"\x01\x00\x00\x00\xff") + piece(OUT, b"") + piece(OUT, b"two")
    )
    assert list(engine.log("one")) == [b"one\n", b"\x01\x00\x00\x00\xff", b"", b"two"]


def test_no_container_has_no_log(answers: Answers, engine: Engine) -> None:
    answers.status, answers.log = 404, b'{"message": "No such container: one"}'
    assert list(engine.log("one")) == []


@pytest.mark.parametrize(
    "log",
    [b"\x01", piece(OUT, b"one\n") + b"\x01\x00", piece(OUT, b"half of it", 100), piece(OUT, b"", 2**31)],
)
def test_a_log_that_is_cut_off_is_no_log(answers: Answers, engine: Engine, log: bytes) -> None:
    answers.log = log
    with pytest.raises(EngineError, match="stopped in the middle"):
        list(engine.log("one"))


def test_an_engine_in_trouble_is_an_engine_error(answers: Answers, engine: Engine) -> None:
    answers.status, answers.log = 500, b'{"message": "no"}'
    with pytest.raises(EngineError):
        list(engine.log("one"))
