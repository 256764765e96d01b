"""The controller on a PostgreSQL server that is this module's own, so that it can be stopped."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests

from jobrunner.controller.feed.database_away import COME_BACK_S
from jobrunner.sync.client import Unanswered
from tests.fixtures import databases
from tests.fixtures.controller_sites import Site, served_sites
from tests.fixtures.postgresql import PostgreSQL

pytestmark = [pytest.mark.http, pytest.mark.slow]


@pytest.fixture(scope="module")
def engine_of_rows() -> Iterator[PostgreSQL]:
    with PostgreSQL.start() as server:
        yield server


@pytest.fixture(scope="module")
def own_sites(
    engine_of_rows: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Iterator[Site]]:
    folder = tmp_path_factory.mktemp("postgresql")
    databases.use(folder / "data", engine_of_rows.create("controller"))
    with served_sites(folder, count=6) as made:
        yield iter(made)


@pytest.fixture
def site(own_sites: Iterator[Site]) -> Site:
    return next(own_sites)


def connections_of(site: Site) -> int:
    """How many connections the site's controller has."""
    url = databases.variables(site.server.data)["DATABASE_URL"]
    with psycopg.connect(url) as observer:
        row = observer.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'jobrunner-controller'"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_however_many_pages_are_asked_for_connections_are_few(site: Site) -> None:
    agent = site.agent()
    job = site.ask("other")["jobs"][0]["job_id"]
    lease = agent.claim(job)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: site.agent().renew(job, lease), range(16)))

    def load(number: int) -> int:
        path = "/" if number % 2 else f"/api/v1/requests/{number}"
        headers = {"Authorization": f"Bearer {site.token}"}
        return requests.get(site.server.url + path, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(120) as pool:
        loads = [pool.submit(load, number) for number in range(240)]
        most = 0
        while not all(one.done() for one in loads):
            most = max(most, connections_of(site))
        assert {one.result() for one in loads} == {200, 404}
    # docs/admins.md, "The controller on PostgreSQL".
    assert most <= 42
    assert connections_of(site) <= 10


def test_a_restart_of_the_database_heals_by_itself(site: Site, engine_of_rows: PostgreSQL) -> None:
    agent = site.agent()
    first = site.ask("other")
    job = first["jobs"][0]["job_id"]
    lease = agent.claim(job)
    # Every thread has a connection now.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: site.look(first["request_id"]), range(16)))
    engine_of_rows.stop()
    try:
        # Nothing that looks like an answer: agents and people are told to come again.
        with pytest.raises(Unanswered, match="locked"):
            agent.renew(job, lease)
        with pytest.raises(Unanswered, match="locked"):
            agent.end(job, lease)
        busy = site.call("GET", f"requests/{first['request_id']}")
        assert (busy.status_code, busy.json()["errors"][0]["id"]) == (503, "busy")
        assert int(busy.headers["Retry-After"]) > 0
        data = requests.get(f"{site.server.url}/feed.json", timeout=20)
        assert (data.status_code, data.json()["errors"][0]["id"]) == (503, "busy")
        page = requests.get(f"{site.server.url}/jobs/{first['request_id']}", timeout=20)
        assert (page.status_code, int(page.headers["Retry-After"])) == (503, COME_BACK_S)
        assert "The database does not answer at the moment" in page.text
    finally:
        engine_of_rows.run()
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: site.look(first["request_id"]), range(16)))
    assert seen == [{"other": ("running", "preparing")}] * 16
    agent.end(job, lease)
    assert site.look(first["request_id"]) == {"other": ("succeeded", "completed")}
    assert requests.get(f"{site.server.url}/feed.json", timeout=20).status_code == 200


def test_after_a_restart_that_nobody_saw_the_first_calls_succeed(
    site: Site, engine_of_rows: PostgreSQL
) -> None:
    agent = site.agent()
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    lease = agent.claim(job)

    def call(_: int) -> int:
        return site.agent().renew(job, lease).attempt

    with ThreadPoolExecutor(8) as pool:
        # Every thread has a connection; all of them break.
        assert list(pool.map(call, range(16))) == [1] * 16
        site.look(request["request_id"])
        engine_of_rows.stop()
        engine_of_rows.run()
        assert list(pool.map(call, range(16))) == [1] * 16
    assert site.look(request["request_id"]) == {"other": ("running", "preparing")}


def test_a_waiting_poll_outlives_a_restart_of_the_database(site: Site, engine_of_rows: PostgreSQL) -> None:
    agent = site.agent()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.poll)
        time.sleep(0.3)
        engine_of_rows.stop()
        engine_of_rows.run()
        assert waiting.result(10).offers == ()
    site.ask("other")
    assert len(agent.poll().offers) == 1


def test_a_row_that_is_locked_too_long_is_answered_with_locked(site: Site) -> None:
    agent = site.agent()
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    url = databases.variables(site.server.data)["DATABASE_URL"]
    with psycopg.connect(url) as intruder:
        intruder.execute("SELECT 1 FROM projects_backend WHERE slug = %s FOR UPDATE", (site.backend,))
        began = time.monotonic()
        with pytest.raises(Unanswered, match="locked"):
            agent.claim(job)
        assert 8 < time.monotonic() - began < 20
    assert site.look(request["request_id"]) == {"other": ("pending", "waiting_for_agent")}
    assert agent.claim(job).attempt == 1


def test_keys_of_events_are_given_out_in_the_order_of_commits(site: Site) -> None:
    job = site.ask("other")["jobs"][0]["job_id"]
    url = databases.variables(site.server.data)["DATABASE_URL"]
    insert = (
        "INSERT INTO jobs_jobevent (job_id, at, state, reason, attempt)"
        " SELECT id, now(), state, reason, attempt FROM jobs_job WHERE job_id = %s RETURNING id"
    )

    def add(connection: psycopg.Connection) -> int:
        row = connection.execute(insert, (job,)).fetchone()
        assert row is not None
        return int(row[0])

    with psycopg.connect(url) as first, psycopg.connect(url) as second, psycopg.connect(url) as reader:
        early = add(first)
        late: list[int] = []
        other = threading.Thread(target=lambda: late.append(add(second)))
        other.start()
        other.join(0.5)
        assert late == [], "the second waits while the first has not committed"
        first.commit()
        other.join(10)
        second.commit()
        assert late == [early + 1]
        # An insertion that is given up leaves a gap, never a row that comes late.
        lost = add(first)
        first.rollback()
        assert lost == early + 2
        rows = reader.execute("SELECT id FROM jobs_jobevent WHERE id >= %s ORDER BY id", (early,)).fetchall()
        assert rows == [(early,), (early + 1,)]
