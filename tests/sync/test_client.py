"""The agent's side of the wire against a real server that lies, cuts, drips and keeps silent (P05, P06, P21).

Whatever comes that is no well-formed answer means "try again later": Unanswered, or BrokenReply where the
controller itself spoke and said something outside of the closed list.
"""

import gzip
import json
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jobrunner.sync.client import (
    AgentClient,
    BrokenReply,
    Endpoint,
    Rejected,
    Unanswered,
)
from jobrunner.sync.messages import MAX_REPLY_BYTES, Claim, Hello, Message, Poll, Renew, Slots
from jobrunner.sync.vocabulary import ErrorCode, Runtime
from tests.evil_controller import replies
from tests.evil_controller.certificates import server_context
from tests.evil_controller.honest import lease, poll_answer
from tests.evil_controller.server import EvilController, Line, Reply, Request, http_answer

pytestmark = pytest.mark.http

CREDENTIAL = "agent-credential-" + "c" * 32
POLL = Poll(accepting=True, slots=Slots(db=0, plain=1))
CLAIM = Claim(job_id="a" * 26, attempt=1)
HELLO = Hello(agent_id="site", protocol=1, version="1", runtimes=(Runtime.RUNC,), policy_digest="0" * 64)


@pytest.fixture
def controller() -> Iterator[EvilController]:
    with EvilController(hold_s=0.01) as running:
        yield running


@pytest.fixture
def client(controller: EvilController) -> Iterator[AgentClient]:
    made = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=2.0)
    yield made
    made.close()


def claim(controller: EvilController, client: AgentClient, reply: Reply) -> Message:
    controller.play("claim", reply)
    return client.claim(CLAIM)


def test_an_honest_answer_is_read(client: AgentClient) -> None:
    assert client.hello(HELLO).protocol == 1
    assert client.poll(POLL).offers == ()
    assert client.claim(CLAIM).lease.attempt == 1


HTML = b"<html><body>Please sign in to the hospital's network</body></html>"
GOOD = {"lease": lease(1)}
GOOD_BODY = json.dumps(GOOD).encode()
WHOLE = http_answer(200, GOOD_BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

NO_ANSWERS: dict[str, Reply] = {
    "html with 200": replies.answer(HTML, kind="text/html"),
    "html said to be json": replies.answer(HTML, status=502),
    "502 with html": replies.answer(HTML, status=502, kind="text/html"),
    "502 with json of a proxy": replies.answer({"message": "bad gateway"}, status=502),
    "500 with an error of ours": replies.answer({"error": "taken"}, status=500),
    "404 with another error": replies.answer({"error": "not_found"}, status=404),
    "409 with a listed error and more": replies.answer({"error": "taken", "hint": "x"}, status=409),
    "302 with a listed error": replies.answer({"error": "taken"}, status=302, headers={"Location": "/"}),
    "204": replies.raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
    "json as text": replies.answer(GOOD, kind="text/plain"),
    "no content type": replies.raw(WHOLE.replace(b"Content-Type: application/json", b"Connection: close")),
    "gzip": replies.answer(gzip.compress(GOOD_BODY), headers={"Content-Encoding": "gzip"}),
    "cut gzip": replies.answer(gzip.compress(GOOD_BODY)[:30], headers={"Content-Encoding": "gzip"}),
    "said to be gzip": replies.answer(GOOD, headers={"Content-Encoding": "gzip"}),
    "deflate": replies.answer(GOOD, headers={"Content-Encoding": "deflate"}),
    "cut body": replies.cut(GOOD, keep=20),
    "cut before the body": replies.cut(GOOD, keep=0),
    "cut chunk": replies.raw(CHUNKED + b"40\r\n{"),
    "cut between two chunks": replies.raw(CHUNKED + b"1\r\n{\r\n"),
    "a chunk of a negative length": replies.raw(CHUNKED + b"-5\r\n{"),
    "a chunk of no number's length": replies.raw(CHUNKED + b"-" + b"f" * 20 + b"\r\n{"),
    "two lengths": replies.raw(WHOLE.replace(b"Content-Length:", b"Content-Length: 2\r\nContent-Length:")),
    "nothing at all": replies.raw(b""),
    "not http": replies.raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "half a head": replies.raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "a head that is cut after its type": replies.raw(WHOLE.partition(b"Content-Length")[0] + b"Content-Len"),
    "no length": replies.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOOD_BODY),
    "a header of 70 KiB": replies.answer(GOOD, headers={"X": "x" * 70_000}),
    "1,000 headers": replies.answer(GOOD, headers={f"X{number}": "x" for number in range(1000)}),
    "too long": replies.answer(GOOD_BODY + b" " * MAX_REPLY_BYTES),
    "too long, its length said wrong": replies.raw(
        WHOLE.replace(f"Content-Length: {len(GOOD_BODY)}".encode(), b"Content-Length: 99999999999")
        + b" " * 2 * MAX_REPLY_BYTES
    ),
    "slow down": replies.answer({"error": "slow_down"}, status=429),
    "locked": replies.answer({"error": "locked"}, status=423),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_means_try_again(
    name: str, controller: EvilController, client: AgentClient
) -> None:
    with pytest.raises(Unanswered) as caught:
        claim(controller, client, NO_ANSWERS[name])
    assert "hospital" not in str(caught.value)
    # The same client is well again as soon as the controller is.
    assert client.claim(CLAIM).lease.attempt == 1


LIES: dict[str, Any] = {
    "unknown field": GOOD | {"image": "evil"},
    "unknown field inside": {"lease": lease(1) | {"command": "rm"}},
    "missing field": {},
    "wrong type": {"lease": lease(1) | {"attempt": "1"}},
    "out of bounds": {"lease": lease(1) | {"seconds": 86400}},
    "token with a line end": {"lease": lease(1, token="x\r\nX-Evil: 1")},
    "a list": [GOOD],
    "cut json": GOOD_BODY[:-1],
    "empty": b"",
    "nan": b'{"lease": NaN}',
    "duplicate keys": GOOD_BODY[:-1] + b', "lease": ' + json.dumps(lease(2)).encode() + b"}",
    "deep": b"[" * 5000,
    "a big int": b'{"lease": {"attempt": 1, "seconds": 60' + b"0" * 400 + b', "token": null}}',
    "not utf-8": b'{"lease": "\xff"}',
}


@pytest.mark.parametrize("name", LIES)
def test_a_reply_outside_the_closed_list_is_refused_whole(
    name: str, controller: EvilController, client: AgentClient
) -> None:
    with pytest.raises(BrokenReply) as caught:
        claim(controller, client, replies.answer(LIES[name]))
    assert caught.value.unknown_field is name.startswith("unknown field")


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "stale_attempt"), (409, "taken"), (426, "unknown_protocol"), (400, "bad_request")],
)
def test_listed_errors_are_final(
    status: int, code: str, controller: EvilController, client: AgentClient
) -> None:
    with pytest.raises(Rejected) as caught:
        claim(controller, client, replies.answer({"error": code}, status=status))
    assert (caught.value.status, caught.value.code) == (status, ErrorCode(code))


def test_an_error_that_this_version_does_not_know_is_not_final(
    controller: EvilController, client: AgentClient
) -> None:
    with pytest.raises(Unanswered):
        claim(controller, client, replies.answer({"error": "new_code"}, status=409))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, controller: EvilController, client: AgentClient) -> None:
    with EvilController() as elsewhere:
        away = {"Location": f"{elsewhere.url}/api/v1/agent/claim"}
        with pytest.raises(Unanswered):
            claim(controller, client, replies.answer(b"", status=status, headers=away))
        assert elsewhere.received == b""


def test_a_hanging_controller_is_left_at_the_deadline(controller: EvilController) -> None:
    client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=0.3)
    began = time.monotonic()
    with pytest.raises(Unanswered):
        claim(controller, client, replies.hang())
    assert 0.2 < time.monotonic() - began < 2
    client.close()


@pytest.mark.parametrize("at_once", [0, 30, len(WHOLE) - len(GOOD_BODY), len(WHOLE) - 20])
def test_a_dripping_answer_is_left_at_the_deadline(at_once: int, controller: EvilController) -> None:
    # A byte comes long before the socket's own timeout, again and again.
    client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=0.5)
    began = time.monotonic()
    with pytest.raises(Unanswered):
        claim(controller, client, replies.drip(WHOLE, every_s=0.1, at_once=at_once))
    assert time.monotonic() - began < 2
    client.close()


def test_a_dripping_body_without_a_length_is_no_answer(controller: EvilController) -> None:
    client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=0.3)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    data = head + GOOD_BODY + b" " * 100
    with pytest.raises(Unanswered):
        claim(controller, client, replies.drip(data, every_s=0.05, at_once=len(head) + len(GOOD_BODY)))
    client.close()


def test_an_answer_that_is_late_but_in_time_is_read(controller: EvilController, client: AgentClient) -> None:
    controller.play("claim", replies.late(0.3, replies.answer(GOOD)))
    assert client.claim(CLAIM).lease.attempt == 1
    controller.play("claim", replies.drip(WHOLE, every_s=0.001))
    assert client.claim(CLAIM).lease.attempt == 1


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (CHUNKED + b"-1\r\n", b"x" * 60_000),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: x\r\n" * 4000),
        (CHUNKED, b"1;" + b"x" * 60_000 + b"\r\n \r\n"),
    ],
    ids=["headers", "before the head", "a chunk without an end", "after the last chunk", "around each byte"],
)
def test_an_answer_without_an_end_is_left_when_it_is_too_much(
    begin: bytes, again: bytes, controller: EvilController
) -> None:
    sent = 0

    def flood(line: Line, _request: Request) -> bool:
        nonlocal sent
        line.send(begin)
        while sent < 2**28:
            line.send(again)
            sent += len(again)
        return False

    client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=20)
    with pytest.raises(Unanswered):
        claim(controller, client, flood)
    # The rest of it lay in buffers of the kernel.
    assert sent < 2**25
    client.close()


def test_one_connection_serves_call_after_call(controller: EvilController, client: AgentClient) -> None:
    for _ in range(3):
        client.claim(CLAIM)
    assert controller.connections == 1


def test_what_follows_an_interim_answer_is_no_answer_to_the_next_question(
    controller: EvilController, client: AgentClient
) -> None:
    def hint(line: Line, _request: Request) -> bool:
        line.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        return True

    with pytest.raises(Unanswered):
        claim(controller, client, hint)
    assert client.claim(CLAIM).lease.attempt == 1
    assert controller.connections == 2


def test_a_controller_by_its_ipv6_address_is_reached() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def answer_one() -> None:
        caller, _address = listener.accept()
        with caller:
            asked = b""
            while not asked.endswith(b"}"):
                asked += caller.recv(65536)
            caller.sendall(WHOLE)

    with listener:
        thread = threading.Thread(target=answer_one)
        thread.start()
        url = f"http://[::1]:{listener.getsockname()[1]}"
        client = AgentClient(Endpoint(url=url, credential=CREDENTIAL), answer_s=5)
        assert client.claim(CLAIM).lease.attempt == 1
        client.close()
        thread.join()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://[1::2:3]", ("1::2:3", 80)),
        ("https://[1::2:3]/at", ("1::2:3", 443)),
        ("https://[1::2]:3", ("1::2", 3)),
        ("https://controller.example", ("controller.example", 443)),
        ("https://controller.example:8443", ("controller.example", 8443)),
    ],
)
def test_the_controller_is_called_where_its_address_says(
    url: str, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, int]] = []

    def nobody_there(address: tuple[str, int], *_more: object) -> socket.socket:
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", nobody_there)
    client = AgentClient(Endpoint(url=url, credential=CREDENTIAL))
    with pytest.raises(Unanswered):
        client.claim(CLAIM)
    assert called == [place]
    client.close()


def test_nobody_listening_means_try_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = AgentClient(Endpoint(url=f"http://127.0.0.1:{port}", credential=CREDENTIAL))
    with pytest.raises(Unanswered):
        client.claim(CLAIM)
    client.close()


# --- https ---


def test_https_with_the_ca_of_the_policy_works(tmp_path: Path) -> None:
    with EvilController(tls=server_context(tmp_path)) as controller:
        client = AgentClient(
            Endpoint(url=controller.url, credential=CREDENTIAL, ca_file=str(tmp_path / "ca.pem")), answer_s=5
        )
        assert client.claim(CLAIM).lease.attempt == 1
        client.close()


def test_a_certificate_for_another_name_stops_the_call_before_the_credential(tmp_path: Path) -> None:
    with EvilController(tls=server_context(tmp_path)) as controller:
        # The certificate is of an authority that is trusted, for 127.0.0.1.
        url = f"https://localhost:{controller.port}"
        client = AgentClient(
            Endpoint(url=url, credential=CREDENTIAL, ca_file=str(tmp_path / "ca.pem")), answer_s=5
        )
        with pytest.raises(Unanswered, match="SSLCertVerificationError"):
            client.claim(CLAIM)
        assert controller.received == b""
        client.close()


def test_a_file_of_authorities_that_is_not_there_means_try_again() -> None:
    client = AgentClient(Endpoint(url="https://127.0.0.1:9", credential=CREDENTIAL, ca_file="/nowhere.pem"))
    with pytest.raises(Unanswered, match="FileNotFoundError"):
        client.claim(CLAIM)


@pytest.mark.parametrize("at_once", [0, len(WHOLE) - 20])
def test_a_dripping_answer_over_https_is_left_at_the_deadline(tmp_path: Path, at_once: int) -> None:
    with EvilController(tls=server_context(tmp_path)) as controller:
        client = AgentClient(
            Endpoint(url=controller.url, credential=CREDENTIAL, ca_file=str(tmp_path / "ca.pem")),
            answer_s=0.5,
        )
        began = time.monotonic()
        with pytest.raises(Unanswered):
            claim(controller, client, replies.drip(WHOLE, every_s=0.1, at_once=at_once))
        assert time.monotonic() - began < 2
        client.close()


def test_a_certificate_of_nobody_we_trust_stops_the_call_before_the_credential(tmp_path: Path) -> None:
    with EvilController(tls=server_context(tmp_path)) as controller:
        client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=5)
        with pytest.raises(Unanswered):
            client.claim(CLAIM)
        assert controller.received == b""
        client.close()


def test_the_environment_cannot_add_a_trusted_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EvilController(tls=server_context(tmp_path)) as controller:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "ca.pem"))
        client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=5)
        with pytest.raises(Unanswered):
            client.claim(CLAIM)
        assert controller.received == b""
        client.close()


def test_no_keys_of_a_session_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    with EvilController(tls=server_context(tmp_path)) as controller:
        client = AgentClient(
            Endpoint(url=controller.url, credential=CREDENTIAL, ca_file=str(tmp_path / "ca.pem")), answer_s=5
        )
        assert client.claim(CLAIM).lease.attempt == 1
        client.close()
    assert not keys.exists() or keys.read_bytes() == b""


def test_tls_1_1_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = server_context(tmp_path, old=True)
    with EvilController(tls=old) as controller:
        # The server itself is well: a client that allows the old version gets its answer.
        if not _speaks_tls_1_1(controller.port):
            pytest.skip("this OpenSSL cannot speak TLS 1.1 any more")
        client = AgentClient(
            Endpoint(url=controller.url, credential=CREDENTIAL, ca_file=str(tmp_path / "ca.pem")), answer_s=5
        )
        with pytest.raises(Unanswered):
            client.claim(CLAIM)
        assert b"Bearer" not in controller.received
        client.close()


def _speaks_tls_1_1(port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain) as line,
        ):
            return line.version() == "TLSv1.1"
    except OSError:
        return False


# --- what leaves ---

HEADERS = {
    "Host", "Authorization", "User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Content-Length",
}  # fmt: skip


def test_requests_hold_the_closed_headers_and_fields_and_no_more(
    controller: EvilController, client: AgentClient
) -> None:
    client.hello(HELLO)
    client.poll(POLL)
    client.claim(CLAIM)
    for request, message in zip(controller.requests(), [HELLO, POLL, CLAIM], strict=True):
        assert {name for name, _value in request.headers} == HEADERS
        assert request.method == "POST"
        assert request.path == f"/api/v1/agent/{request.call}"
        assert request.header("Authorization") == f"Bearer {CREDENTIAL}"
        assert request.header("User-Agent") == "jobrunner-agent/1"
        assert request.header("Accept-Encoding") == "identity"
        assert request.body == message.to_bytes()


def test_an_attempt_token_goes_with_calls_of_its_attempt_only(
    controller: EvilController, client: AgentClient
) -> None:
    client.renew(Renew(job_id="a" * 26, attempt=1), "token-of-attempt")
    client.claim(CLAIM)
    renewed, claimed = controller.requests()
    assert {name for name, _value in renewed.headers} == HEADERS | {"Jobrunner-Attempt"}
    assert renewed.header("Jobrunner-Attempt") == "token-of-attempt"
    assert claimed.header("Jobrunner-Attempt") is None


def test_what_the_controller_sets_is_not_sent_back(controller: EvilController, client: AgentClient) -> None:
    controller.play(
        "poll",
        replies.answer(poll_answer(), headers={"Set-Cookie": "mark=canary; Path=/", "ETag": "canary"}),
    )
    client.poll(POLL)
    client.poll(POLL)
    assert b"canary" not in controller.received


def test_proxies_and_passwords_of_the_environment_are_ignored(
    controller: EvilController, client: AgentClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EvilController() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login canary password canary\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert client.claim(CLAIM).lease.attempt == 1
        assert proxy.received == b""
        assert controller.requests()[0].header("Authorization") == f"Bearer {CREDENTIAL}"


def test_the_environment_would_matter_to_an_ordinary_client(
    controller: EvilController, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The twin of the test above: the trap works.
    with EvilController() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        requests.post(f"{controller.url}/api/v1/agent/claim", data=CLAIM.to_bytes(), timeout=5)
        assert proxy.received != b""
        assert controller.received == b""


def test_a_failed_call_is_not_repeated_by_itself(controller: EvilController, client: AgentClient) -> None:
    for reply in (
        replies.raw(b""),
        replies.answer(HTML, status=503, kind="text/html", headers={"Retry-After": 0}),
    ):
        with pytest.raises(Unanswered):
            claim(controller, client, reply)
    assert len(controller.requests("claim")) == 2


def test_a_client_leaves_no_file_descriptors(controller: EvilController) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    client = AgentClient(Endpoint(url=controller.url, credential=CREDENTIAL), answer_s=5)
    client.claim(CLAIM)
    before = count()
    for name in ("cut body", "too long", "gzip", "html with 200"):
        with pytest.raises(Unanswered):
            claim(controller, client, NO_ANSWERS[name])
    client.claim(CLAIM)
    _until(lambda: count() <= before + 1)
    client.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
