"""Attacks on the live stream and the feed for readers (threats.md section 8, rows P)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures import databases
from tests.fixtures.controller_sites import Site, served_sites
from tests.fixtures.viewer import Viewer

pytestmark = [pytest.mark.http, pytest.mark.slow]

CANARY = "ZQcanaryZQ"
# Every column that holds free text or a secret, less those that are public by design: project texts, titles
# of backends, user names, repository addresses, branches, actions.
PRIVATE = {
    "accounts_person": ("first_name", "last_name", "email", "password"),
    "accounts_personaltoken": ("digest",),
    "jobs_jobrequest": ("client_key", "body_digest"),
    "projects_backend": (
        "public_key",
        "credential_digest",
        "agent_id",
        "agent_version",
        "agent_runtimes",
        "policy_digest",
    ),
    "projects_approval": ("approval_id", "envelope", "digest"),
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Site]]:
    with served_sites(tmp_path_factory.mktemp("watched"), count=1) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """A site whose server nobody needs afterwards."""
    with served_sites(tmp_path, count=1) as (made,):
        yield made


def test_P08_no_private_text_is_in_the_stream_or_the_feed(own: Site) -> None:
    site = own
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        request = site.ask("chart")
        agent = site.agent()
        job = request["jobs"][0]["job_id"]
        lease = agent.claim(job)
        for table, columns in PRIVATE.items():
            for column in columns:
                site.server.query(
                    f"UPDATE {table} SET {column} = substr(CAST(? AS text) || id || {column}, 1, 26)",  # noqa: S608
                    CANARY,
                )
        # The canary is where the server reads from, so that its absence says something.
        assert databases.dump(site.server.data).count(CANARY) >= sum(map(len, PRIVATE.values()))
        site.server.query(
            "INSERT INTO jobs_jobevent (job_id, at, state, reason, attempt)"
            " SELECT id, changed_at, 'failed', 'internal_error', 1 FROM jobs_job WHERE job_id = ?",
            job,
        )
        viewer.until(lambda events: len(events) >= 5)
        told = bytes(viewer.raw).decode()
    assert request["request_id"] in told
    for path in ("/feed.atom", f"/projects/{site.project}.atom"):
        answer = requests.get(site.server.url + path, timeout=10)
        assert request["request_id"] in answer.text
        told += answer.text
    assert CANARY.lower() not in told.lower()
    assert str(lease.token) not in told
    assert site.token not in told


def test_P08_the_stream_tells_no_text_of_people(sites: list[Site]) -> None:
    """Project texts, names and addresses are public, but a viewer has them from the page, not from here."""
    site = sites[0]
    site.server.query(
        "UPDATE projects_project SET title = ?, purpose = ?, legal_basis = ? WHERE slug = ?",
        *[CANARY] * 3,
        site.project,
    )
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        job = site.ask("other")["jobs"][0]["job_id"]
        agent = site.agent()
        agent.end(job, agent.claim(job), Reason.NONZERO_EXIT, ExitClass.FAILED)
        viewer.until(lambda events: len(events) >= 3)
        assert CANARY.encode() not in viewer.raw
        assert site.repo.encode() not in viewer.raw
        assert site.person.encode() not in viewer.raw
    assert CANARY in requests.get(f"{site.server.url}/projects/{site.project}.atom", timeout=10).text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("path", ["/feed/events", "/feed/events?after=x", "/feed.atom"])
def test_P18_streams_and_feeds_have_the_headers_and_allow_no_origin(
    sites: list[Site], path: str, method: str
) -> None:
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    url = sites[0].server.url + path
    with requests.request(method, url, headers=foreign, stream=True, timeout=10) as answer:
        headers = answer.headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil.example", ""])
def test_P09_a_host_that_is_not_ours_gets_no_stream(sites: list[Site], host: str) -> None:
    url = f"{sites[0].server.url}/feed/events"
    with requests.get(url, headers={"Host": host}, stream=True, timeout=10) as answer:
        assert answer.status_code == 400
    with requests.get(url, headers={"Host": "localhost"}, stream=True, timeout=10) as answer:
        assert answer.status_code == 200
