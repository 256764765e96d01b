"""Attacks on the controller (threats.md section 8, rows P). Each has a twin that succeeds with permission."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.controller import database
from jobrunner.controller.configuration import Configuration, ConfigurationProblem, check, from_environment
from jobrunner.controller.secret_key import ensure
from jobrunner.sync import identity, signing
from jobrunner.sync.client import AgentClient, Endpoint, Rejected, Unanswered
from jobrunner.sync.messages import (
    ATTEMPT_HEADER,
    MAX_REQUEST_BYTES,
    Events,
    Lease,
    Poll,
    Renew,
    Slots,
)
from jobrunner.sync.vocabulary import ErrorCode, ExitClass, Reason
from tests.fixtures.controller_sites import Agent, Site, a_batch, served_sites, supply

HELLO = {"agent_id": "a", "protocol": 1, "version": "1.0", "runtimes": ["runc"], "policy_digest": "0" * 64}
AGENT_CALLS = ("hello", "poll", "claim", "renew", "events")


@pytest.fixture(scope="module")
def sites(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Iterator[Site]]:
    with served_sites(tmp_path_factory.mktemp("attacked"), count=a_batch(request.session)) as made:
        yield supply(made)


@pytest.fixture(scope="module")
def bystander(sites: Iterator[Site]) -> Site:
    """A site whose record nobody in these tests may change."""
    return next(sites)


@pytest.fixture
def site(sites: Iterator[Site]) -> Site:
    return next(sites)


@pytest.fixture
def other_site(sites: Iterator[Site]) -> Site:
    return next(sites)


def started(site: Site, action: str = "other") -> tuple[Agent, str, Lease]:
    agent = site.agent()
    job = site.ask(action)["jobs"][0]["job_id"]
    return agent, job, agent.claim(job)


def refused(call: Callable[[], object]) -> tuple[int, ErrorCode]:
    with pytest.raises(Rejected) as rejected:
        call()
    return rejected.value.status, rejected.value.code


def post(site: Site, call: str, body: bytes, **headers: str) -> requests.Response:
    return requests.post(
        f"{site.server.url}/api/v1/agent/{call}",
        data=body,
        headers={"Authorization": f"Bearer {site.credential}", "Content-Type": "application/json"} | headers,
        timeout=35,
        allow_redirects=False,
    )


# --- P01: tokens of attempts ---


@pytest.mark.slow
@pytest.mark.http
def test_P01_only_the_attempts_own_token_counts(site: Site, other_site: Site) -> None:
    agent, job, lease = started(site)
    _, _, second = started(site, "extract")
    _, _, foreign = started(other_site)
    event = agent.event(job, 1, Reason.EXECUTING)
    before = site.stored()
    token = str(lease.token)
    altered = token[:-1] + ("E" if token.endswith("A") else "A")
    wrong = [second.token, foreign.token, site.credential, site.token, altered, "x"]
    for token in wrong:
        assert refused(lambda token=token: agent.client.events(Events(events=(event,)), token))[0] == 403
        renewal = Renew(job_id=job, attempt=1)
        assert refused(lambda token=token, renewal=renewal: agent.client.renew(renewal, token))[0] == 403
    assert post(site, "events", Events(events=(event,)).to_bytes()).status_code == 403
    assert site.stored() == before
    # The twin: the right token.
    assert agent.send(lease, event).acks == (event.event_id,)


@pytest.mark.unit
@pytest.mark.parametrize("field", ["audience", "agent", "job", "attempt", "expiry", "key"])
def test_P01_every_field_of_a_token_counts(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobrunner.controller.settings")
    from django.conf import settings

    from jobrunner.controller.jobs import attempt_tokens

    now = datetime(2026, 3, 1, tzinfo=UTC)
    given = {"agent": "north", "job_id": "a" * 26, "attempt": 2}
    token = attempt_tokens.issue("north", "a" * 26, 2, now=now)
    assert attempt_tokens.fits(token, **given, now=now + timedelta(days=29))  # type: ignore[arg-type]
    if field == "audience":
        monkeypatch.setattr(attempt_tokens, "AUDIENCE", "release")
    elif field == "expiry":
        now += timedelta(days=30, seconds=1)
    elif field == "key":
        monkeypatch.setattr(settings, "SECRET_KEY", "another key")
    else:
        given |= {"agent": {"agent": "south"}, "job": {"job_id": "b" * 26}, "attempt": {"attempt": 1}}[field]
    assert not attempt_tokens.fits(token, **given, now=now)  # type: ignore[arg-type]


@pytest.mark.http
def test_P01_a_token_of_an_older_attempt_is_stale(site: Site) -> None:
    agent, job, old = started(site)
    agent.end(job, old, Reason.INTERNAL_ERROR, ExitClass.FAILED)
    new = agent.claim(job, 2)
    before = site.stored()
    assert refused(lambda: agent.end(job, old)) == (409, ErrorCode.STALE_ATTEMPT)
    assert refused(lambda: agent.renew(job, old)) == (409, ErrorCode.STALE_ATTEMPT)
    # The new token does not speak for the old attempt, nor the old one for the new.
    event = agent.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert refused(lambda: agent.client.events(Events(events=(event,)), str(new.token)))[0] == 403
    event = agent.event(job, 2, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert refused(lambda: agent.client.events(Events(events=(event,)), str(old.token)))[0] == 403
    assert site.stored() == before
    agent.end(job, new)
    assert ("succeeded", "completed") in {row[1:3] for row in site.stored()[0]}  # type: ignore[attr-defined]


# --- P03: whose job it is ---


@pytest.mark.http
def test_P03_another_backends_job_cannot_be_claimed_or_reported(site: Site, other_site: Site) -> None:
    agent, job, lease = started(site)
    stranger = other_site.agent()
    before = site.stored()
    assert refused(lambda: stranger.claim(job, 2))[0] == 403
    assert refused(lambda: stranger.renew(job, lease))[0] == 403
    event = stranger.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert refused(lambda: stranger.send(lease, event))[0] == 403
    assert site.stored() == before
    agent.end(job, lease)
    assert site.stored() != before


@pytest.mark.http
def test_P03_a_job_that_never_was_is_unknown(site: Site) -> None:
    agent, _, lease = started(site)
    ghost = identity.new_id()
    before = site.stored()
    assert refused(lambda: agent.claim(ghost)) == (404, ErrorCode.BAD_REQUEST)
    event = agent.event(ghost, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert refused(lambda: agent.send(lease, event)) == (404, ErrorCode.BAD_REQUEST)
    assert site.stored() == before


@pytest.mark.http
def test_P03_an_event_without_the_agents_own_signature_is_refused(site: Site) -> None:
    agent, job, lease = started(site)
    good = agent.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    before = site.stored()
    thief = Agent(site)
    thief.site = Site(**(vars(site) | {"key": Ed25519PrivateKey.generate()}))
    forged = thief.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    moved_back = good.model_copy(update={"started": 1})
    for event in (forged, moved_back, good.model_copy(update={"event_id": identity.new_id()})):
        assert refused(lambda event=event: agent.send(lease, event))[0] == 403
    unsigned = json.loads(Events(events=(good,)).to_bytes())
    del unsigned["events"][0]["signature"]
    answer = post(site, "events", json.dumps(unsigned).encode(), **{ATTEMPT_HEADER: str(lease.token)})
    assert (answer.status_code, answer.json()) == (400, {"error": "bad_request"})
    assert site.stored() == before
    assert agent.send(lease, good).acks == (good.event_id,)


@pytest.mark.http
def test_P03_a_back_dated_event_keeps_the_controllers_own_time(site: Site) -> None:
    agent, job, lease = started(site)
    event = signing.sign_event(
        site.key,
        event_id=identity.new_id(),
        job_id=job,
        attempt=1,
        stage=agent.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED).stage,
        exit_class=ExitClass.SUCCEEDED,
        reason=Reason.COMPLETED,
        started=1000,
        finished=2000,
    )
    agent.send(lease, event)
    ((body, received),) = site.server.query(
        "SELECT body, received_at FROM jobs_receipt WHERE event_id = ?", event.event_id
    )
    assert json.loads(body)["finished"] == 2000
    assert str(received)[:4] == time.strftime("%Y", time.gmtime())
    ((finished,),) = site.server.query("SELECT finished_at FROM jobs_job WHERE job_id = ?", job)
    assert finished == received


@pytest.mark.http
def test_P03_a_replayed_event_changes_nothing_and_another_body_under_its_id_is_refused(site: Site) -> None:
    agent, job, lease = started(site)
    event = agent.event(job, 1, Reason.EXECUTING)
    agent.send(lease, event)
    before = site.stored()
    assert agent.send(lease, event).acks == (event.event_id,)
    assert agent.send(lease, event, event).acks == (event.event_id,)
    assert site.stored() == before
    changed = signing.sign_event(
        site.key,
        event_id=event.event_id,
        job_id=job,
        attempt=1,
        stage=event.stage,
        exit_class=None,
        reason=event.reason,
        started=1,
        finished=None,
    )
    assert refused(lambda: agent.send(lease, changed)) == (409, ErrorCode.BAD_REQUEST)
    assert site.stored() == before


@pytest.mark.http
def test_P03_two_agents_with_one_identity_are_fenced(site: Site) -> None:
    first, second = site.agent(), site.agent()
    job = site.ask("other")["jobs"][0]["job_id"]
    lease = first.claim(job)
    first.send(lease, first.event(job, 1, Reason.EXECUTING))
    assert refused(lambda: second.claim(job, 1)) == (409, ErrorCode.TAKEN)
    first.end(job, lease, Reason.INTERNAL_ERROR, ExitClass.FAILED)
    newer = second.claim(job, 2)
    assert refused(lambda: first.end(job, lease)) == (409, ErrorCode.STALE_ATTEMPT)
    second.end(job, newer)
    # Both claims are kept.
    rows = site.server.query(
        "SELECT r.attempt FROM jobs_receipt r JOIN jobs_job j ON j.id = r.job_id WHERE j.job_id = ?", job
    )
    assert [attempt for (attempt,) in rows] == [1, 1, 2]


# --- P05: what the controller answers can always be told from a proxy's page ---


@pytest.mark.http
def test_P05_every_answer_of_the_api_is_json_even_an_error(site: Site) -> None:
    url = site.server.url
    for method, path in [
        ("GET", "/api/v1/agent/poll"),
        ("POST", "/api/v1/agent/nothing"),
        ("GET", "/api/v1/nothing"),
        ("PUT", "/api/v1/requests"),
        ("GET", "/api/v1/requests/unknown"),
        ("POST", "/api/v1/requests"),
    ]:
        answer = requests.request(method, url + path, timeout=10, allow_redirects=False)
        assert 400 <= answer.status_code < 500, path
        assert answer.headers["content-type"].split(";")[0] == "application/json", path
        assert "location" not in answer.headers
    answer = requests.get(url + "/api/v1/openapi.json", headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


@pytest.mark.http
def test_P05_a_peer_that_sends_a_huge_header_or_nothing_harms_nobody(site: Site) -> None:
    address = ("127.0.0.1", site.server.port)
    with socket.create_connection(address, timeout=10) as peer:
        peer.sendall(b"POST /api/v1/agent/poll HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300_000)
        try:
            answer = peer.recv(100)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    slow = [socket.create_connection(address, timeout=10) for _ in range(50)]
    for peer in slow:
        peer.sendall(b"POST /api/v1/agent/poll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    began = time.monotonic()
    assert site.ask("other")["jobs"]
    assert time.monotonic() - began < 5
    for peer in slow:
        peer.close()


# --- P06: bodies ---

DEEP = b"[" * 17 + b"]" * 17
EVIL_BODIES = {
    "deep": DEEP,
    "very deep": b"[" * 30_000,
    "huge": b'{"a": "' + b"x" * MAX_REQUEST_BYTES + b'"}',
    "duplicate key": b'{"accepting": true, "accepting": false, "slots": {"db": 0, "plain": 0}}',
    "NaN": b'{"accepting": true, "slots": {"db": NaN, "plain": 0}}',
    "big int": b'{"accepting": true, "slots": {"db": 0, "plain": ' + b"9" * 4000 + b"}}",
    "wrong type": b'{"accepting": "yes", "slots": {"db": 0, "plain": 0}}',
    "float": b'{"accepting": true, "slots": {"db": 0.0, "plain": 0}}',
    "unknown field": b'{"accepting": true, "slots": {"db": 0, "plain": 0}, "log": "secret"}',
    "not an object": b'"x"',
    "not UTF-8": b'{"accepting": "\xff"}',
    "NUL": b'{"accepting": "\\u0000"}',
    "empty": b"",
}


@pytest.mark.http
@pytest.mark.parametrize("name", EVIL_BODIES)
def test_P06_a_body_that_is_not_the_message_never_reaches_the_code(bystander: Site, name: str) -> None:
    site = bystander
    body = EVIL_BODIES[name]
    began = time.monotonic()
    answer = post(site, "poll", body)
    assert (answer.status_code, answer.json()) == (413 if name == "huge" else 400, {"error": "bad_request"})
    answer = requests.post(
        f"{site.server.url}/api/v1/requests",
        data=body,
        headers={"Authorization": f"Bearer {site.token}", "Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == (413 if name == "huge" else 400)
    assert answer.json()["errors"]
    assert time.monotonic() - began < 2
    assert site.stored()[0] == []


@pytest.mark.http
def test_P06_duplicate_keys_and_deep_bodies_of_people_are_refused_with_the_reason(site: Site) -> None:
    good = json.dumps(site.body("other"))
    headers = {"Authorization": f"Bearer {site.token}", "Content-Type": "application/json"}
    url = f"{site.server.url}/api/v1/requests"
    twice = good[:-1] + ', "force": true}'
    answer = requests.post(url, data=twice, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (400, "malformed")
    assert "twice" in answer.json()["errors"][0]["message"]
    form = requests.post(url, data=good, headers=headers | {"Content-Type": "text/plain"}, timeout=60)
    assert form.status_code == 415
    assert requests.post(url, data=good, headers=headers, timeout=60).status_code == 201


@pytest.mark.http
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/feed.atom?project=%00"),
        ("GET", "/projects/%00.atom"),
        ("GET", "/projects/%00"),
        ("GET", "/runs?project=%00"),
        ("GET", "/runs?before=%00"),
        ("GET", "/feed.json?backend=a%00"),
        ("GET", "/feed/events?project=%00"),
        ("GET", "/live/runs?%00"),
        ("GET", "/jobs/%00"),
        ("GET", "/jobs/%00/data.json?after=%00"),
        ("GET", "/static/%00"),
        ("GET", "/api/v1/requests/%00"),
        ("POST", "/api/v1/requests/%00/cancel"),
        ("POST", "/api/v1/agent/poll?%00"),
    ],
)
def test_P06_an_address_with_a_nul_is_refused(bystander: Site, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {bystander.token}"}
    answer = requests.request(method, bystander.server.url + path, headers=headers, timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json().get("error") == "bad_request" or "NUL" in answer.json()["errors"][0]["message"]
    # Escaped twice it is the text "%00", which a database can be asked for.
    twice = bystander.server.url + path.replace("%00", "%2500")
    assert requests.request(method, twice, headers=headers, timeout=10).status_code in (200, 400, 401, 404)


@pytest.mark.http
@pytest.mark.parametrize("field", ["project", "backend", "repo", "branch", "commit", "client_key", "actions"])
def test_P06_a_text_with_a_nul_is_refused(bystander: Site, field: str) -> None:
    value = ["other\0"] if field == "actions" else "p\0"
    answer = bystander.call("POST", "requests", json=bystander.body("other", **{field: value}))
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (400, "malformed")
    assert "NUL" in answer.json()["errors"][0]["message"]


@pytest.mark.slow
@pytest.mark.http
def test_P06_a_body_without_a_length_is_cut_at_the_same_limit(bystander: Site) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            sent.append(1)
            yield b" " * 16_384

    url = f"{bystander.server.url}/api/v1/agent/poll"
    headers = {"Authorization": f"Bearer {bystander.credential}", "Content-Type": "application/json"}
    try:
        answer = requests.post(url, data=endless(), headers=headers, timeout=10)
    except requests.ConnectionError:
        # It closed the connection before we had sent everything.
        assert len(sent) < 10_000
    else:
        assert answer.status_code == 413
    fits = (part for part in [b'{"accepting": false, ', b'"slots": {"db": 0, "plain": 0}}'])
    assert requests.post(url, data=fits, headers=headers, timeout=10).status_code == 200


@pytest.mark.http
def test_P06_an_event_has_at_most_one_kibibyte_and_a_batch_64(site: Site) -> None:
    agent, job, lease = started(site)
    events = [agent.event(job, 1, Reason.EXECUTING) for _ in range(65)]
    body = {"events": [json.loads(event.to_bytes()) for event in events]}
    headers = {ATTEMPT_HEADER: str(lease.token)}
    before = site.stored()
    assert post(site, "events", json.dumps(body).encode(), **headers).status_code == 400
    assert site.stored() == before
    body["events"].pop()
    assert post(site, "events", json.dumps(body).encode(), **headers).status_code == 200


# --- P09: every route, every credential, own and other objects ---


@pytest.mark.slow
@pytest.mark.http
def test_P09_the_table_of_rights(site: Site, other_site: Site) -> None:
    server = site.server
    request = site.ask("other")["request_id"]
    gone = server.create_token("gone", site.project)
    server.query("UPDATE accounts_person SET is_active = false WHERE username = 'gone'")
    removed = server.create_token("removed", site.project)
    server.query(
        "DELETE FROM projects_membership WHERE person_id ="
        " (SELECT id FROM accounts_person WHERE username = 'removed')"
    )
    # The same person, a member of both projects, with a token that is for the other one only.
    narrow = server.create_token(site.person, other_site.project)
    credentials = {
        "nothing": (None, 401),
        "rubbish": ("jrp_rubbish", 401),
        "an agent's credential": (site.credential, 401),
        "a locked person": (gone, 401),
        "a person who left": (removed, 403),
        "another project's": (other_site.token, 403),
        "a narrower one of the same person": (narrow, 403),
        "its own": (site.token, 200),
    }
    calls = [
        ("GET", f"requests/{request}", None),
        ("POST", "requests", site.body("extract")),
        ("POST", f"requests/{request}/cancel", None),
    ]
    before = site.stored()
    for name, (credential, expected) in credentials.items():
        for method, path, body in calls:
            headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
            answer = requests.request(
                method, f"{server.url}/api/v1/{path}", json=body, headers=headers, timeout=60
            )
            assert answer.status_code in ({200, 201} if expected == 200 else {expected}), (name, path)
            assert expected == 200 or site.stored() == before, (name, path)
    assert site.stored() != before


@pytest.mark.http
@pytest.mark.parametrize("call", AGENT_CALLS)
def test_P09_no_call_of_an_agent_without_an_agents_credential(bystander: Site, call: str) -> None:
    site, body = bystander, json.dumps(HELLO).encode()
    for value in (f"Bearer {site.token}", "Bearer jrb_rubbish", "Bearer ", f"Basic {site.credential}", ""):
        answer = post(site, call, body, Authorization=value)
        assert (answer.status_code, answer.json()) == (401, {"error": "bad_request"}), value
    assert post(site, "hello", body).status_code == 200


@pytest.mark.http
def test_P09_the_list_of_own_requests_holds_nothing_of_others_nor_beyond_the_token(
    site: Site, other_site: Site
) -> None:
    mine = site.ask("other")["request_id"]
    other_site.ask("other")
    narrow = site.server.create_token(site.person, other_site.project)
    listed = [row["request_id"] for row in site.call("GET", "requests").json()["requests"]]
    assert listed == [mine]
    assert site.call("GET", "requests", token=narrow).json() == {"requests": []}
    assert site.call("GET", "requests", token="jrp_rubbish").status_code == 401


@pytest.mark.http
def test_P09_what_a_caller_claims_about_himself_counts_for_nothing(site: Site, other_site: Site) -> None:
    request = site.ask("other")["request_id"]
    claims = {"Remote-User": site.person, "X-Forwarded-User": site.person, "X-Original-URL": "/"}
    url = f"{site.server.url}/api/v1/requests/{request}"
    assert requests.get(url, headers=claims, timeout=10).status_code == 401
    foreign = {"Authorization": f"Bearer {other_site.token}"} | claims
    assert requests.get(f"{url}?person={site.person}", headers=foreign, timeout=10).status_code == 403
    for extra in ({"person": "root"}, {"request_id": "a" * 26}, {"state": "succeeded"}):
        assert site.call("POST", "requests", json=site.body("extract") | extra).status_code == 400
    assert requests.get(site.server.url, headers={"Host": "evil.example"}, timeout=10).status_code == 400


# --- P12: tokens of people ---

THEIR_TOKEN = (
    "FROM accounts_personaltoken t JOIN accounts_person p ON p.id = t.person_id WHERE p.username = ?"
)


def change_token(site: Site, column: str) -> None:
    """Set a date of the person's token to one that is long gone."""
    ((number,),) = site.server.query("SELECT t.id " + THEIR_TOKEN, site.person)
    statements = {
        "expires_at": "UPDATE accounts_personaltoken SET expires_at = '2020-01-01' WHERE id = ?",
        "revoked_at": "UPDATE accounts_personaltoken SET revoked_at = '2020-01-01' WHERE id = ?",
    }
    site.server.query(statements[column], number)


@pytest.mark.http
def test_P12_tokens_end_and_are_not_kept_in_the_clear(site: Site) -> None:
    assert site.call("GET", "requests/x").status_code == 404
    for file in site.server.data.iterdir():
        if file.is_file():
            content = file.read_bytes()
            assert site.token.encode() not in content
            assert site.credential.encode() not in content
    ((expiry,),) = site.server.query("SELECT t.expires_at " + THEIR_TOKEN, site.person)
    assert str(expiry) < (datetime.now(UTC) + timedelta(days=367)).isoformat()
    change_token(site, "expires_at")
    assert site.call("GET", "requests/x").status_code == 401


@pytest.mark.slow
@pytest.mark.http
def test_P12_a_revoked_token_and_a_renewed_credential_end_at_once(site: Site) -> None:
    agent, job, lease = started(site)
    agent.renew(job, lease)
    key = signing.public_key_text(site.key)
    site.server.command("create-backend", site.backend, "--public-key", key, "--renew")
    assert refused(lambda: agent.poll())[0] == 401
    change_token(site, "revoked_at")
    assert site.call("GET", "requests/x").status_code == 401


# --- P17: settings that are refused ---

SAFE = {
    "JOBRUNNER_CONTROLLER_MODE": "production",
    "JOBRUNNER_CONTROLLER_DATA": "/srv/controller",
    "JOBRUNNER_CONTROLLER_HOSTS": "jobs.example.org",
    "JOBRUNNER_CONTROLLER_GIT_PREFIXES": "https://github.com/opensafely",
}
UNSAFE = [
    ("DEBUG", {"DEBUG": "yes"}, "k" * 64),
    ("SECRET_KEY_FILE", {}, "short"),
    ("GIT_PREFIXES", {"GIT_PREFIXES": "http://127.0.0.1:8080"}, "k" * 64),
    ("GIT_PREFIXES", {"GIT_PREFIXES": "http://github.com/opensafely", "MODE": "test"}, "k" * 64),
    ("GIT_PREFIXES", {"GIT_PREFIXES": "https://github.com/opensafely/"}, "k" * 64),
    ("REUSABLE_PREFIX", {"REUSABLE_PREFIX": "http://127.0.0.1:8080/owner"}, "k" * 64),
    ("REUSABLE_PREFIX", {"REUSABLE_PREFIX": "http://github.com/owner", "MODE": "test"}, "k" * 64),
    ("REUSABLE_PREFIX", {"REUSABLE_PREFIX": "https://github.com"}, "k" * 64),
    ("REUSABLE_PREFIX", {"REUSABLE_PREFIX": "https://github.com/owner/"}, "k" * 64),
    ("REUSABLE_PREFIX", {"REUSABLE_PREFIX": ""}, "k" * 64),
    ("HOSTS", {"HOSTS": "*"}, "k" * 64),
    ("HOSTS", {"HOSTS": ""}, "k" * 64),
    ("DATA", {"DATA": ""}, "k" * 64),
    ("MODE", {"MODE": "prod"}, "k" * 64),
    ("LEASE_SECONDS", {"LEASE_SECONDS": "5"}, "k" * 64),
    ("DEBUG", {"DEBUG": "maybe"}, "k" * 64),
]


@pytest.mark.unit
@pytest.mark.parametrize(("setting", "changes", "key"), UNSAFE)
def test_P17_an_unsafe_setting_is_named(setting: str, changes: dict[str, str], key: str) -> None:
    environment = SAFE | {f"JOBRUNNER_CONTROLLER_{name}": value for name, value in changes.items()}
    with pytest.raises(ConfigurationProblem) as problem:
        check(from_environment(environment), key)
    assert problem.value.setting == f"JOBRUNNER_CONTROLLER_{setting}"
    check(from_environment(SAFE), "k" * 64)


UNSAFE_DATABASES = [
    "mysql://u:hunter2@db/name",
    "oracle://u:hunter2@db/name",
    "hunter2",
    "sqlite://hunter2.db",
    "sqlite:///relative/hunter2.db",
    "sqlite://:memory:",
    "postgresql://u:hunter2@/name",
    "postgresql:///name?password=hunter2",
    "postgresql://u:hunter2@127.0.0.1/",
    "postgresql://u:hunter2@127.0.0.1:port/name",
    "postgresql://u:hunter2@127.0.0.1/name?options=-c%20lock_timeout%3D0",
    "postgresql://u:hunter2@127.0.0.1/name?service=other",
    # Over the network the server must prove who it is.
    "postgresql://u:hunter2@db.example.org/name",
    "postgresql://u:hunter2@db.example.org/name?sslmode=prefer",
    "postgresql://u:hunter2@db.example.org/name?sslmode=require",
]
SAFE_DATABASES = [
    "sqlite:////srv/controller/rows.sqlite3",
    "postgresql://u:hunter2@127.0.0.1/name",
    "postgres://u:hunter2@localhost:5433/name",
    "postgresql://u@/name?host=/run/postgresql",
    "postgresql://u:hunter2@db.example.org/name?sslmode=verify-full",
]


@pytest.mark.unit
@pytest.mark.parametrize("url", UNSAFE_DATABASES)
def test_P17_an_unsafe_database_is_refused_and_its_password_never_told(url: str) -> None:
    chosen = from_environment(SAFE | {"DATABASE_URL": url})
    with pytest.raises(ConfigurationProblem) as problem:
        database.settings_of(chosen)
    assert problem.value.setting == "DATABASE_URL"
    told = "".join(traceback.format_exception(problem.value)) + repr(chosen)
    assert "hunter2" not in told


@pytest.mark.unit
@pytest.mark.parametrize("url", SAFE_DATABASES)
def test_P17_a_safe_database_is_taken(url: str) -> None:
    chosen = from_environment(SAFE | {"DATABASE_URL": url})
    settings = database.settings_of(chosen)
    assert settings["NAME"]
    assert "hunter2" not in repr(chosen)
    if settings["ENGINE"].endswith("postgresql"):
        assert "lock_timeout" in settings["OPTIONS"]["options"]
    # Without a URL the rows are in the data folder.
    default = database.settings_of(from_environment(SAFE))
    assert str(default["NAME"]) == "/srv/controller/controller.sqlite3"


@pytest.mark.http
def test_P17_a_database_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "JOBRUNNER_CONTROLLER_MODE": "test",
        "JOBRUNNER_CONTROLLER_DATA": str(tmp_path / "data"),
        "DATABASE_URL": f"postgresql://u:hunter2@/name?host={tmp_path}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", "controller", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "DATABASE_URL: the database cannot be used" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.unit
def test_P17_the_key_is_long_its_owners_alone_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "secret-key"
    key = ensure(file)
    assert len(key) >= 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ensure(file) == key
    file.chmod(0o640)
    with pytest.raises(ConfigurationProblem, match="others may read"):
        ensure(file)


@pytest.mark.unit
def test_P17_the_mode_is_production_unless_another_is_chosen() -> None:
    assert from_environment({"JOBRUNNER_CONTROLLER_DATA": "/srv/x"}).mode == "production"
    assert Configuration().data is None


# --- P18: headers everywhere ---

PAGES = ("/", "/feed.json", "/jobs/nothing", "/nothing", "/static/feed/page.css", "/static/nothing")
CALLS = ("/api/v1/requests/x", "/api/v1/nothing", "/api/v1/openapi.json", "/api/v1/agent/poll")


@pytest.mark.http
@pytest.mark.parametrize("path", PAGES + CALLS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_P18_every_answer_has_the_headers_and_none_allows_other_origins(
    bystander: Site, path: str, method: str
) -> None:
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = requests.request(method, bystander.server.url + path, headers=foreign, timeout=10)
    headers = answer.headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "server" not in headers
    if path.startswith("/api/"):
        assert headers["cache-control"] == "no-store"


@pytest.mark.http
def test_P18_a_bad_host_and_a_long_body_have_the_headers_too(bystander: Site) -> None:
    site = bystander
    bad_host = requests.get(site.server.url, headers={"Host": "evil.example"}, timeout=10)
    too_long = requests.post(site.server.url, data=b"x" * (MAX_REQUEST_BYTES + 1), timeout=10)
    assert (bad_host.status_code, too_long.status_code) == (400, 413)
    for answer in (bad_host, too_long):
        assert "default-src 'self'" in answer.headers["content-security-policy"]


# --- P20: races ---


@pytest.mark.http
def test_P20_a_finished_job_is_not_cancelled_and_a_cancelled_one_not_revived(site: Site) -> None:
    agent, job, lease = started(site)
    agent.end(job, lease)
    ((request,),) = site.server.query(
        "SELECT r.request_id FROM jobs_jobrequest r JOIN jobs_job j ON j.request_id = r.id"
        " WHERE j.job_id = ?",
        job,
    )
    answer = site.call("POST", f"requests/{request}/cancel").json()
    assert answer["message"] == "Nothing was left to cancel."
    assert site.look(request)["other"] == ("succeeded", "completed")

    second = site.ask("other")
    job = second["jobs"][0]["job_id"]
    lease = agent.claim(job)
    site.call("POST", f"requests/{second['request_id']}/cancel")
    agent.end(job, lease, Reason.BY_REQUESTER, ExitClass.CANCELLED)
    late = agent.event(job, 1, Reason.COMPLETED, ExitClass.SUCCEEDED)
    assert agent.send(lease, late).acks == (late.event_id,)
    assert site.look(second["request_id"])["other"] == ("cancelled", "by_requester")
    assert refused(lambda: agent.claim(job, 2)) == (409, ErrorCode.TAKEN)
    rows = site.server.query("SELECT applied FROM jobs_receipt WHERE event_id = ?", late.event_id)
    assert rows == [(0,)]


@pytest.mark.slow
@pytest.mark.http
def test_P20_cancel_against_the_end_has_one_winner(site: Site) -> None:
    for _ in range(5):
        request = site.ask("other")
        agent = site.agent()
        job = request["jobs"][0]["job_id"]
        lease = agent.claim(job)
        with ThreadPoolExecutor(2) as pool:
            cancelling = pool.submit(site.call, "POST", f"requests/{request['request_id']}/cancel")
            pool.submit(agent.end, job, lease).result()
            cancelling.result()
        assert site.look(request["request_id"])["other"] == ("succeeded", "completed")
        ends = site.server.query(
            "SELECT count(*) FROM jobs_jobevent e JOIN jobs_job j ON j.id = e.job_id"
            " WHERE j.job_id = ? AND e.state NOT IN ('pending', 'running')",
            job,
        )
        assert ends == [(1,)]


@pytest.mark.http
def test_P20_of_many_claims_at_once_the_job_gets_one_attempt(site: Site) -> None:
    job = site.ask("other")["jobs"][0]["job_id"]
    agents = [site.agent() for _ in range(8)]

    def claim(agent: Agent) -> int:
        return agent.claim(job, 1).attempt

    with ThreadPoolExecutor(8) as pool:
        attempts = list(pool.map(claim, agents))
    assert attempts == [1] * 8
    assert [row[3:5] for row in site.stored()[0]] == [(1, 1)]  # type: ignore[attr-defined]


# --- P22: other protocols ---


@pytest.mark.http
def test_P22_another_protocol_is_named_and_nothing_is_guessed(site: Site) -> None:
    hello = {
        "agent_id": "a",
        "protocol": 1,
        "version": "1.0",
        "runtimes": ["runc"],
        "policy_digest": "0" * 64,
    }
    assert post(site, "hello", json.dumps(hello).encode()).json() == {"protocol": 1}
    for change in ({"protocol": 2}, {"protocol": 2, "new_field": 1}, {"protocol": 0}):
        answer = post(site, "hello", json.dumps(hello | change).encode())
        assert (answer.status_code, answer.json()) == (426, {"error": "unknown_protocol"})
    for change in ({"protocol": "1"}, {"protocol": True}, {"runtimes": ["kata"]}, {"extra": 1}):
        answer = post(site, "hello", json.dumps(hello | change).encode())
        assert (answer.status_code, answer.json()) == (400, {"error": "bad_request"})
    agent, job, lease = started(site)
    event = json.loads(agent.event(job, 1, Reason.EXECUTING).to_bytes())
    before = site.stored()
    for change in ({"stage": "thinking"}, {"reason": "bored"}, {"stage": "ended"}):
        body = json.dumps({"events": [event | change]}).encode()
        assert post(site, "events", body, **{ATTEMPT_HEADER: str(lease.token)}).status_code == 400
    assert site.stored() == before


@pytest.mark.slow
@pytest.mark.http
def test_P27_an_agent_that_polls_too_much_is_told_to_slow_down(site: Site) -> None:
    body = Poll(accepting=True, slots=Slots(db=0, plain=0))
    endpoint = Endpoint(site.server.url, site.credential)
    with ThreadPoolExecutor(6) as pool:
        polls = [pool.submit(AgentClient(endpoint).poll, body) for _ in range(6)]
        errors = [poll.exception() for poll in polls]
    told = [error for error in errors if error is not None]
    assert len(told) == 2
    assert all(isinstance(error, Unanswered) and str(error) == "slow_down" for error in told)
