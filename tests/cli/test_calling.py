"""What the researcher's commands do when a controller answers otherwise than theirs would."""

import copy
import json
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.cli import answers, calling
from jobrunner.cli.errors import Stop
from tests.fixtures import commands
from tests.fixtures.http_serving import serving

pytestmark = pytest.mark.http

WHEN = "2026-11-22T10:00:00Z"
JOB = {
    "job_id": "j1", "action": "model", "state": "failed", "reason": "nonzero_exit", "why": "The code failed.",
    "next_step": "Read the log.", "log": "It lies inside.", "running_s": None,
}  # fmt: skip
REQUEST = {"request_id": "r1", "summary": "1 failed", "page": "/jobs/r1", "finished": True, "jobs": [JOB]}
REUSED = {
    "action": "extract", "request_id": "r0", "commit": "a" * 40, "same_commit": True, "finished_at": WHEN,
    "failed_since": {"request_id": "r0", "commit": "b" * 40, "reason": "nonzero_exit", "finished_at": WHEN},
}  # fmt: skip
ALREADY = {
    "action": "plot", "state": "running", "request_id": "r0", "asked_by": "ada", "commit": "a" * 40,
    "same_commit": False, "page": "/jobs/r0",
}  # fmt: skip
ROW = {"request_id": "r1", "created_at": WHEN, "project": "p", "state": "failed", "summary": "1 failed"}
ASK = ("request", "model", "--backend", "b", "--project", "p", "--repo", "https://github.com/o/n",
       "--branch", "main", "--commit", "a" * 40)  # fmt: skip
COMMANDS: dict[tuple[str, ...], dict[str, Any]] = {
    ASK: {"message": "Asked.", "request": REQUEST, "reused": [REUSED], "already": [ALREADY]},
    ("status",): {"requests": [ROW]},
    ("status", "r1"): REQUEST,
    ("status", "r1", "--watch"): REQUEST,
    ("cancel", "r1"): {"message": "Cancelled.", "request": REQUEST},
}


class Says(ThreadingHTTPServer):
    """A controller that gives every call the same answer."""

    daemon_threads = True
    status = 200
    body = b""
    headers: tuple[tuple[str, str], ...] = ()
    is_endless = False
    drips_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Says

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        for name, value in self.server.headers:
            self.send_header(name, value)
        if not self.server.is_endless:
            self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        try:
            if self.server.drips_s:
                for byte in self.server.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(self.server.drips_s)
                return
            self.wfile.write(self.server.body)
            while self.server.is_endless:
                self.wfile.write(b" " * 2**20)
        except OSError:
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def says() -> Iterator[Says]:
    with serving(Says(("127.0.0.1", 0), Handler)) as server:
        yield server


def run(says: Says, words: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    return commands.run((*words, "--controller", says.url), {"JOBRUNNER_TOKEN": "t", "HOME": "/nowhere"})


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_TOKEN", "t")


def ask(says: Says) -> dict[str, Any]:
    """The same call without a process of its own."""
    return calling.call(says.url, "GET", "/", None, answers.OWN_REQUESTS)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_an_answer_of_this_version_is_taken(says: Says, words: tuple[str, ...]) -> None:
    says.body = json.dumps(COMMANDS[words]).encode()
    done = run(says, words)
    assert done.returncode == (1 if "--watch" in words else 0), done.stderr
    assert not done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_an_answer_of_another_version_is_told_in_a_sentence(says: Says, words: tuple[str, ...]) -> None:
    says.body = json.dumps({"message": "Asked.", "request": {}, "reused": [], "already": []}).encode()
    done = run(says, words)
    assert done.returncode == 1
    assert "answers otherwise than this jobrunner" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b'{"requests": [}'])
def test_what_is_no_json_is_told_in_a_sentence(says: Says, body: bytes) -> None:
    says.body = body
    with pytest.raises(Stop, match="did not answer like a controller"):
        ask(says)


def test_an_answer_without_an_end_is_left(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    says.is_endless = True
    monkeypatch.setattr(calling, "_ANSWER_BYTES", 2**22)
    with pytest.raises(Stop, match="at greater length"):
        ask(says)


@pytest.mark.parametrize("is_redirect", [False, True])
def test_an_answer_that_drips_is_left(says: Says, monkeypatch: pytest.MonkeyPatch, is_redirect: bool) -> None:
    says.body, says.drips_s = b" " * 400, 0.05
    if is_redirect:
        says.status, says.headers = 302, (("Location", "/elsewhere"),)
    monkeypatch.setattr(calling, "_WHOLE_S", 0.5)
    began = time.monotonic()
    with pytest.raises(Stop, match="answers too slowly"):
        ask(says)
    assert time.monotonic() - began < 5


def test_a_redirect_is_not_followed_nor_taken(says: Says) -> None:
    says.status, says.headers = 302, (("Location", "/elsewhere"),)
    says.body = json.dumps(COMMANDS[("status",)]).encode()
    done = run(says, ("status",))
    assert done.returncode == 1
    assert (
        done.stderr == f"jobrunner: {says.url} sends elsewhere, which is not followed. Check its address.\n"
    )


def test_a_redirect_without_an_end_is_left(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    says.is_endless, says.status, says.headers = True, 302, (("Location", "/elsewhere"),)
    monkeypatch.setattr(calling, "_ANSWER_BYTES", 2**22)
    with pytest.raises(Stop, match="at greater length"):
        ask(says)


def test_a_way_that_is_down_is_tried_later(says: Says) -> None:
    says.status, says.body = 502, b"<html>bad gateway</html>"
    done = run(says, ("status",))
    assert done.returncode == 1
    assert done.stderr == f"jobrunner: {says.url} answered with status 502. Try again later.\n"


@pytest.mark.parametrize(
    "url",
    [
        "https://[x",
        "https://[::1",
        "http://evil.example\\@localhost/",
        "http://controller.example",
        "https://controller.example?x",
        "ftp://127.0.0.1",
        "https://a:b",
    ],
)
def test_a_token_travels_to_no_odd_address(url: str) -> None:
    with pytest.raises(Stop, match="is not an https address like"):
        calling.address(url)


def test_a_file_of_authorities_that_is_not_there_is_named() -> None:
    environment = {"JOBRUNNER_TOKEN": "t", "HOME": "/nowhere", "REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}
    done = commands.run(("status", "--controller", "https://127.0.0.1:9"), environment)
    assert done.returncode == 1
    assert "/nowhere/ca.pem" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("odd", ["[/b][bold]x", "\ud800\x1b]0;x\x07\u202ea\nb"])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_a_terminal_shows_every_text_and_obeys_none(says: Says, words: tuple[str, ...], odd: str) -> None:
    says.body = json.dumps(_with_in_each_text(COMMANDS[words], odd)).encode()
    done = run(says, words)
    assert done.returncode == (1 if "--watch" in words else 0), done.stderr
    assert not done.stderr
    assert not {"\ud800", "\x1b", "\x07", "\u202e"} & set(done.stdout)
    if odd.startswith("["):
        assert odd in done.stdout


def _with_in_each_text(value: Any, odd: str) -> Any:
    if isinstance(value, dict):
        return {
            key: entry if key.endswith("_at") else _with_in_each_text(entry, odd)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_with_in_each_text(entry, odd) for entry in value]
    return f"{value}{odd}" if isinstance(value, str) else value


def test_problems_of_the_pipeline_are_told_with_their_place(says: Says) -> None:
    problem = {"id": "PY001", "line": 3, "column": 5, "action": None, "message": "Not a mapping.\x1b[2J"}
    error = {"id": "RQ002", "message": "project.yaml has 1 error.", "problems": [problem]}
    says.status, says.body = 422, json.dumps({"errors": [error]}).encode()
    done = run(says, ("status",))
    assert done.returncode == 1
    assert done.stderr == (
        "RQ002: project.yaml has 1 error.\n  line 3, column 5: PY001 Not a mapping.\\x1b[2J\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"id": "RQ001"}]},
        {"errors": ["RQ001"]},
        {"errors": []},
        {"errors": {"id": "RQ001"}},
        [],
    ],
)
def test_a_refusal_of_another_kind_is_told_with_its_status(says: Says, body: object) -> None:
    says.status, says.body = 422, json.dumps(body).encode()
    with pytest.raises(Stop, match="answered with status 422 and not like a controller"):
        ask(says)


@pytest.mark.parametrize("problems", [None, 1, ["x"], [{"line": 1}], {"a": 1}])
def test_a_refusal_is_told_whatever_lies_beside_it(
    says: Says, capsys: pytest.CaptureFixture[str], problems: object
) -> None:
    error = {"id": "RQ002", "message": "project.yaml has 1 error.", "problems": problems}
    says.status, says.body = 422, json.dumps({"errors": [error]}).encode()
    with pytest.raises(typer.Exit):
        ask(says)
    assert capsys.readouterr().err == "RQ002: project.yaml has 1 error.\n"


_SHAPES = [
    (answers.CREATED, COMMANDS[ASK]),
    (answers.OWN_REQUESTS, COMMANDS[("status",)]),
    (answers.REQUEST, REQUEST),
    (answers.CANCELLED, COMMANDS[("cancel", "r1")]),
]


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*at, key))


@given(st.data())
def test_nothing_may_be_missing_or_of_another_kind(data: st.DataObject) -> None:
    shape, whole = data.draw(st.sampled_from(_SHAPES))
    assert answers.fits(whole, shape)
    *way, last = data.draw(st.sampled_from(list(_places(whole))))
    changed = copy.deepcopy(whole)
    holder = changed
    for key in way:
        holder = holder[key]
    if isinstance(holder, dict) and data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = 1.5
    assert not answers.fits(changed, shape)
    assert answers.fits({**whole, "newer": 1}, shape)
