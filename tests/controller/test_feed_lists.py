"""Lists of requests: filters show what matches, pages show everything once, size costs nothing."""

from datetime import date, timedelta
from itertools import chain

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobrunner.controller.feed import shared_part
from jobrunner.controller.feed.filters import Filters
from jobrunner.controller.feed.listing import page
from jobrunner.controller.feed.shared_part import MOST, SharedParts
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_rows import BEGIN, Rows, job

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

DAYS = 4
HOSTS = {"HTTP_HOST": "localhost"}
many_examples = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def fresh_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with a database of its own, so nothing may be kept from the one before."""
    monkeypatch.setattr(shared_part, "PARTS", SharedParts())


@pytest.fixture
def asked() -> list[JobRequest]:
    """Requests of two projects over some days, in every state, the oldest first."""
    north, south = Rows("north"), Rows("south")
    found: list[JobRequest] = []
    ends = [
        (Reason.COMPLETED, ExitClass.SUCCEEDED),
        (Reason.NONZERO_EXIT, ExitClass.FAILED),
        (Reason.SITE_POLICY, ExitClass.REFUSED),
        (Reason.BY_SITE, ExitClass.CANCELLED),
        None,
        "waits",
    ]
    for number in range(DAYS * 12):
        rows = (north, south)[number % 2]
        north.now = south.now = BEGIN.replace(hour=0) + timedelta(hours=2 * number)
        request = rows.ask("other", branch=f"branch-{number}", force=True)
        assert request is not None
        end = ends[number % len(ends)]
        if end != "waits":
            lease = rows.claim(job(request, "other"))
            if isinstance(end, tuple):
                rows.report(job(request, "other"), lease, *end)
        found.append(JobRequest.objects.get(pk=request.pk))
    return found


def shown(filters: Filters) -> list[str]:
    """All requests that the filters let through, by going from page to page."""
    rows, before, ids = filters.apply(JobRequest.objects.all()), "", []
    while True:
        found = page(rows, before=before, size=7, now=BEGIN)
        ids += [digest.head.request_id for digest in found.digests]
        if found.older is None:
            return ids
        before = found.older


days = st.none() | st.dates(BEGIN.date() - timedelta(days=1), BEGIN.date() + timedelta(days=DAYS))


@given(
    project=st.sampled_from(["", "north-study", "south-study"]),
    backend=st.sampled_from(["", "north", "south"]),
    state=st.none() | st.sampled_from(State),
    since=days,
    until=days,
)
@many_examples
def test_a_filter_shows_exactly_what_matches(
    asked: list[JobRequest],
    project: str,
    backend: str,
    state: State | None,
    since: date | None,
    until: date | None,
) -> None:
    expected = [
        request.request_id
        for request in reversed(asked)
        if project in ("", request.project.slug)
        and backend in ("", request.backend.slug)
        and state in (None, State(request.state))
        and (since is None or request.created_at.date() >= since)
        and (until is None or request.created_at.date() <= until)
    ]
    assert shown(Filters(project, backend, state, since, until)) == expected


def test_the_rows_are_in_every_state(asked: list[JobRequest]) -> None:
    assert {request.state for request in asked} == set(State)


@pytest.mark.parametrize("size", [1, 5, 12, 48, 60])
def test_every_request_is_on_exactly_one_page_both_ways(asked: list[JobRequest], size: int) -> None:
    everything, newest_first = JobRequest.objects.all(), [request.request_id for request in reversed(asked)]
    down: list[list[str]] = []
    found = page(everything, size=size, now=BEGIN)
    assert found.newer is None
    while True:
        down.append([digest.head.request_id for digest in found.digests])
        if found.older is None:
            break
        found = page(everything, before=found.older, size=size, now=BEGIN)
    assert list(chain.from_iterable(down)) == newest_first
    assert max(map(len, down)) <= size
    up: list[list[str]] = [down[-1]]
    while found.newer is not None:
        found = page(everything, after=found.newer, size=size, now=BEGIN)
        up.insert(0, [digest.head.request_id for digest in found.digests])
    assert list(chain.from_iterable(up)) == newest_first


def test_the_address_of_a_page_keeps_its_filters(asked: list[JobRequest]) -> None:
    client = Client(**HOSTS)
    path = "/runs?project=north-study&from=2026-03-01&to=2026-03-31"
    seen: list[str] = []
    while path:
        answer = client.get("/feed.json" + path.removeprefix("/runs").removeprefix("/feed.json")).json()
        seen += [request["request_id"] for request in answer["requests"]]
        path = answer["next"]
    assert seen == [r.request_id for r in reversed(asked) if r.project.slug == "north-study"]


PATHS = [
    "/",
    "/live/front",
    "/runs",
    "/runs?project=north-study&state=pending",
    "/feed.json",
    "/projects/",
    "/projects/north-study",
    "/backends/",
    "/backends/north",
]


def queries(path: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert Client(**HOSTS).get(path).status_code == 200
    return len(found)


@pytest.mark.slow
def test_size_changes_neither_the_number_of_queries_nor_the_size_of_pages() -> None:
    rows = Rows("north")
    rows.ask("run_all")
    few = {path: queries(path) for path in PATHS}
    names = [f"step_{number}" for number in range(2000)]
    needs = {name: ("step_0",) if number else () for number, name in enumerate(names)}
    big = rows.ask("run_all", needs=needs | {"last": tuple(names)}, branch="big")
    for number in range(12):
        rows.ask("run_all", branch=f"branch-{number}")
    assert big is not None
    assert Job.objects.filter(request=big).count() == 2001
    for path in PATHS:
        assert queries(path) <= few[path] <= 14, path
        assert len(Client(**HOSTS).get(path).content) < 64 * 1024, path
    one = f"/jobs/{big.request_id}"
    for path in (one, f"/live{one}", f"{one}/history", f"{one}/data.json"):
        assert queries(path) <= 14
    text = Client(**HOSTS).get(one).content.decode()
    assert len(text) < 192 * 1024
    assert "2001 waiting" in text
    assert "Too many actions to draw" in text
    front = Client(**HOSTS).get("/runs").content.decode()
    assert "<code>step_0</code> and 2000 others" in front


@pytest.mark.slow
def test_all_jobs_of_a_large_request_can_be_paged_through() -> None:
    rows = Rows("north")
    names = [f"step_{number}" for number in range(1101)]
    request = rows.ask("run_all", needs=dict.fromkeys(names, ()))
    assert request is not None
    client, seen, path = Client(**HOSTS), [], f"/jobs/{request.request_id}/data.json"
    while path:
        answer = client.get(path).json()
        seen += [found["action"] for found in answer["jobs"]]
        path = answer["next"]
    assert seen == names
    first = client.get(f"/jobs/{request.request_id}").content.decode()
    assert "<h3><code>step_99</code></h3>" in first
    assert "<h3><code>step_100</code></h3>" not in first
    mark = job(request, "step_99").job_id
    assert f"?after={mark}#jobs" in first
    second = client.get(f"/jobs/{request.request_id}?after={mark}").content.decode()
    assert "<h3><code>step_100</code></h3>" in second


def test_a_wait_for_many_names_some_and_counts_the_rest() -> None:
    rows = Rows("north")
    names = tuple(f"step_{number}" for number in range(9))
    request = rows.ask("last", needs=dict.fromkeys(names, ()) | {"last": names, "both": names[:2]})
    assert request is not None
    rows.finish(job(request, "step_0"))
    text = Client(**HOSTS).get(f"/jobs/{request.request_id}?state=pending").content.decode()
    named = ", ".join(f"<code>step_{number}</code>" for number in range(1, 5))
    assert f"Waits for {named} and 4 others to finish." in text


def test_the_part_of_the_front_page_is_made_anew_at_every_change() -> None:
    rows, client = Rows("north"), Client(**HOSTS)
    before = client.get("/live/front").content
    assert client.get("/live/front").content == before
    request = rows.ask("other")
    assert request is not None
    asked = client.get("/live/front").content.decode()
    assert asked.index('id="waiting"') < asked.index(request.request_id) < asked.index('id="finished"')
    rows.finish(job(request, "other"))
    assert client.get("/live/front").content.decode().index('id="finished"') < client.get(
        "/live/front"
    ).content.decode().index(request.request_id)


PARTS = [
    "/live/front",
    "/live/runs",
    "/live/runs?state=pending",
    "/live/projects/north-study",
    "/live/backends/north",
]


def test_each_part_is_made_once_for_all_who_ask_until_something_changes() -> None:
    rows, client = Rows("north"), Client(**HOSTS)
    first = rows.ask("other")
    assert first is not None
    paths = [*PARTS, f"/live/jobs/{first.request_id}", f"/live/jobs/{first.request_id}?state=pending"]
    made = {path: client.get(path).content for path in paths}
    assert len(set(made.values())) == len(paths)
    for path in paths:
        # It only looks whether anything has changed.
        assert queries(path) == 1, path
        assert client.get(path).content == made[path]
    rows.finish(job(first, "other"))
    for path in paths:
        assert client.get(path).content != made[path], path


def test_a_part_that_cannot_be_made_is_not_kept() -> None:
    client = Client(**HOSTS)
    for _ in range(2):
        assert client.get("/live/runs?project=north-study").status_code == 404
        assert client.get("/live/projects/north-study").status_code == 404
        assert client.post("/live/runs").status_code == 405
    Rows("north")
    assert client.get("/live/runs?project=north-study").status_code == 200
    assert client.get("/live/projects/north-study").status_code == 200
    assert client.post("/live/runs?project=north-study").status_code == 405


def test_only_the_parts_that_were_asked_for_last_are_kept() -> None:
    parts = SharedParts()
    first = parts.at("first")
    for number in range(MOST - 1):
        parts.at(str(number))
    assert parts.at("first") is first
    for number in range(MOST):
        parts.at(f"other {number}")
    assert parts.at("first") is not first
