"""The live stream: what it tells, in which order, and how a viewer goes on where it was cut off."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_server import ControllerServer, free_port
from tests.fixtures.controller_sites import Site
from tests.fixtures.viewer import Received, Viewer, ids

pytestmark = pytest.mark.http

FIELDS = {
    "request_id",
    "request_state",
    "project",
    "backend",
    "job_id",
    "action",
    "state",
    "reason",
    "why",
    "attempt",
    "at",
}
UNKNOWN = "a" * 26


@pytest.fixture(scope="module")
def bystander(sites: Iterator[Site]) -> Site:
    """A site for questions that change nothing."""
    return next(sites)


def stored(site: Site, after: int = 0) -> list[tuple[Any, ...]]:
    """The site's events as they are in the database."""
    return site.server.query(
        "SELECT e.id, j.job_id, j.action, e.state, e.reason, e.attempt FROM jobs_jobevent e"
        " JOIN jobs_job j ON j.id = e.job_id JOIN projects_backend b ON b.id = j.backend_id"
        " WHERE b.slug = ? AND e.id > ? ORDER BY e.id",
        site.backend,
        after,
    )


def seconds(stored_time: str | datetime) -> float:
    """Seconds since 1970 of a time as either database gives it."""
    when = datetime.fromisoformat(stored_time) if isinstance(stored_time, str) else stored_time
    return when.replace(tzinfo=UTC).timestamp()


def newest(site: Site) -> int:
    return int(site.server.query("SELECT coalesce(max(id), 0) FROM jobs_jobevent")[0][0])


def append(site: Site, job_id: str, count: int) -> None:
    """Append events from another process; their attempts count up from 1."""
    site.server.query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO jobs_jobevent (job_id, at, state, reason, attempt)"
        " SELECT id, changed_at, 'running', 'executing', i FROM jobs_job, n WHERE jobs_job.job_id = ?",
        count,
        job_id,
    )


def count_is(number: int) -> Callable[[list[Received]], bool]:
    return lambda events: len(events) >= number


def as_stored(event: Received) -> tuple[Any, ...]:
    told = event.data
    return (event.id, told["job_id"], told["action"], told["state"], told["reason"], told["attempt"])


def test_every_change_is_told_once_and_in_order(site: Site) -> None:
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        request = site.ask("chart")
        extract = request["jobs"][0]["job_id"]
        agent = site.agent()
        lease = agent.claim(extract)
        agent.send(lease, agent.event(extract, 1, Reason.EXECUTING))
        agent.end(extract, lease, Reason.OUT_OF_MEMORY, ExitClass.FAILED)
        events = viewer.until(count_is(8))
    assert [as_stored(event) for event in events] == stored(site)
    assert {event.name for event in events} == {"job"}
    assert [event.data["reason"] for event in events[3:]] == [
        "preparing",
        "executing",
        "out_of_memory",
        *["dependency_failed"] * 2,
    ]
    assert events[-1].data["request_state"] == "failed"
    for event in events:
        assert set(event.data) == FIELDS
        assert event.data["request_id"] == request["request_id"]
        assert (event.data["project"], event.data["backend"]) == (site.project, site.backend)
        assert 0 <= event.at - event.data["at"] < 5
        assert event.data["why"].endswith(".")


def test_a_commit_of_this_process_is_told_at_once(site: Site) -> None:
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        agent = site.agent()
        for action in ("extract", "other", "extract"):
            agent.run(site.ask(action, force=True)["jobs"][0]["job_id"])
        events = viewer.until(count_is(9))
    times = dict(site.server.query("SELECT id, at FROM jobs_jobevent WHERE id >= ?", events[0].id))
    delays = [event.at - seconds(times[event.id]) for event in events]
    # Without the bell it would be a quarter of a second.
    assert statistics.median(delays) < 0.15


def test_only_what_was_asked_for_is_told(site: Site, other_site: Site) -> None:
    server = site.server
    first, second = site.ask("other"), site.ask("extract")
    with (
        Viewer.watch(server.url, project=site.project) as of_project,
        Viewer.watch(server.url, backend=other_site.backend) as of_backend,
        Viewer.watch(server.url, request=second["request_id"]) as of_request,
        Viewer.watch(server.url, project=site.project, backend=other_site.backend) as of_both,
        Viewer.watch(server.url) as of_all,
    ):
        other_site.ask("other")
        site.agent().run(second["jobs"][0]["job_id"])
        site.agent().run(first["jobs"][0]["job_id"])
        assert len(of_project.until(count_is(4))) == 4
        assert {e.data["request_id"] for e in of_request.until(count_is(2))} == {second["request_id"]}
        assert {e.data["backend"] for e in of_backend.until(count_is(1))} == {other_site.backend}
        all_of_them = of_all.until(count_is(5))
        assert {event.data["project"] for event in of_project.events} == {site.project}
        assert len(of_request.events) == 2
        assert of_both.events == []
    assert [event.id for event in all_of_them] == sorted({event.id for event in all_of_them})


def test_a_viewer_that_comes_back_gets_what_it_missed(site: Site) -> None:
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        job = site.ask("other")["jobs"][0]["job_id"]
        viewer.until(count_is(1))
        last = viewer.last_id
    agent = site.agent()
    agent.run(job)
    for again in ({"last_event_id": last}, {"after": last}, {"last_event_id": last, "after": 0}):
        with Viewer.watch(site.server.url, project=site.project, **again) as viewer:
            reasons = [event.data["reason"] for event in viewer.until(count_is(2))]
            assert reasons == ["preparing", "completed"]


def test_a_viewer_that_was_told_nothing_still_knows_where_to_go_on(site: Site) -> None:
    with Viewer.watch(site.server.url, project=site.project) as viewer:
        last = viewer.last_id
    site.ask("other")
    with Viewer.watch(site.server.url, project=site.project, last_event_id=last) as viewer:
        assert viewer.until(count_is(1))[0].data["state"] == "pending"


CUTS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=CUTS)
def test_wherever_a_viewer_is_cut_nothing_is_lost_or_told_twice(
    site: Site, cuts: list[tuple[int, int]]
) -> None:
    job = _a_job(site)
    begin = newest(site)
    wanted = {"project": site.project}
    got: list[int] = []
    last: int | None = begin
    for written, read in cuts:
        with Viewer.watch(site.server.url, last_event_id=last, **wanted) as viewer:
            append(site, job, written)
            viewer.until(count_is(min(written, read)))
        got += ids(viewer.events)
        last = viewer.last_id
    everything = [row[0] for row in stored(site, begin)]
    with Viewer.watch(site.server.url, last_event_id=last, **wanted) as viewer:
        missing = len(everything) - len(got)
        got += ids(viewer.until(count_is(missing)))
    assert got == everything


def _a_job(site: Site) -> str:
    found = site.server.query(
        "SELECT j.job_id FROM jobs_job j JOIN projects_backend b ON b.id = j.backend_id WHERE b.slug = ?",
        site.backend,
    )
    return str(found[0][0] if found else site.ask("other")["jobs"][0]["job_id"])


def test_who_was_away_too_long_is_told_to_begin_anew(site: Site) -> None:
    job = _a_job(site)
    begin = newest(site)
    append(site, job, 1001)
    with Viewer.watch(site.server.url, last_event_id=begin) as viewer:
        (event,) = viewer.until(count_is(1))
        assert (event.name, event.id, event.data) == ("reset", newest(site), {})
        append(site, job, 1)
        assert viewer.until(count_is(2))[1].name == "job"
    within = newest(site) - 1000
    with Viewer.watch(site.server.url, last_event_id=within) as viewer:
        assert ids(viewer.until(count_is(1000))) == [row[0] for row in stored(site, within)]


def test_an_id_that_was_never_given_out_is_told_to_begin_anew(site: Site) -> None:
    _a_job(site)
    with Viewer.watch(site.server.url, last_event_id=newest(site) + 10**6) as viewer:
        (event,) = viewer.until(count_is(1))
        assert (event.name, event.id) == ("reset", newest(site))


@pytest.mark.slow
def test_another_process_on_the_same_database_tells_the_same(site: Site) -> None:
    server = site.server
    with ControllerServer(server.data, free_port(), server.git_prefixes, server.settings) as second:
        second.run()
        with (
            Viewer.watch(server.url, project=site.project) as here,
            Viewer.watch(second.url, project=site.project) as there,
        ):
            job = site.ask("other")["jobs"][0]["job_id"]
            site.agent().run(job)
            assert ids(there.until(count_is(3), 3)) == ids(here.until(count_is(3), 3))
            # What the first has told, the second may not have read yet.
            for _ in range(5):
                append(site, job, 1)
                last = here.until(lambda events: events[-1].id == newest(site))[-1].id
                with Viewer.watch(second.url, project=site.project, last_event_id=last) as moved:
                    append(site, job, 1)
                    assert ids(moved.until(count_is(1))) == [newest(site)]


@pytest.mark.parametrize(
    "query",
    [
        "project=",
        "project=A",
        "project=a&project=b",
        "projects=a",
        "request=1",
        f"request={UNKNOWN}x",
        "after=-1",
        "after=1.5",
        f"after={'9' * 19}",
        "after=%D9%A1",
        "=",
        "&",
        "project",
        f"project={'a' * 600}",
    ],
)
def test_a_question_that_is_not_understood_is_refused(bystander: Site, query: str) -> None:
    answer = requests.get(f"{bystander.server.url}/feed/events?{query}", timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["errors"][0]["message"]


def test_a_place_that_is_none_is_refused(bystander: Site) -> None:
    for header in ("", "x", "-1", "1.0", "0x1", "9" * 19):
        headers = {"Last-Event-ID": header}
        answer = requests.get(f"{bystander.server.url}/feed/events", headers=headers, timeout=10)
        assert answer.status_code == 400, header


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_stream_is_only_read(bystander: Site, method: str) -> None:
    answer = requests.request(method, f"{bystander.server.url}/feed/events", timeout=10)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["cache-control"] == "no-store"


def test_what_a_proxy_and_a_browser_are_told(bystander: Site) -> None:
    head = requests.head(f"{bystander.server.url}/feed/events", timeout=10)
    with Viewer.watch(bystander.server.url, headers={"Accept-Encoding": "gzip, br"}) as viewer:
        told = {name.lower(): value for name, value in viewer.response.getheaders()}
        assert viewer.retry_ms is not None
        assert 2000 <= viewer.retry_ms <= 6000
    assert (head.status_code, head.content) == (200, b"")
    for headers in (head.headers, told):
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
