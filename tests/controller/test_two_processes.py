"""Two controllers on one database, as an operator may run them, and what one does while the other does."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import pytest

from jobrunner.sync.client import Rejected
from jobrunner.sync.messages import EventsReply, Lease
from tests.fixtures.controller_server import ControllerServer, free_port
from tests.fixtures.controller_sites import Site

pytestmark = [pytest.mark.http, pytest.mark.slow]

T = TypeVar("T")
ROUNDS = 5


@pytest.fixture(scope="module")
def second(sites: Iterator[Site]) -> Iterator[ControllerServer]:
    """A second process beside the one of all these tests."""
    first = next(sites).server
    with ControllerServer(first.data, free_port(), first.git_prefixes, first.settings) as server:
        server.run()
        yield server


@pytest.fixture
def twins(site: Site, second: ControllerServer) -> tuple[Site, Site]:
    """The same site through either process."""
    return site, replace(site, server=second)


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_a_poll_at_one_learns_of_a_request_made_at_the_other(twins: tuple[Site, Site]) -> None:
    delays = []
    for number in range(3):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(twins[0].agent().poll)
            time.sleep(0.4)
            request = twins[1].ask("other")
            asked = time.monotonic()
            assert len(waiting.result(10).offers) == 1, number
            delays.append(time.monotonic() - asked)
        twins[1].call("POST", f"requests/{request['request_id']}/cancel")
    # One look a second, and a moment for the answer itself.
    assert max(delays) < 1.7, delays


def test_creates_at_once_at_both_make_one_request(twins: tuple[Site, Site]) -> None:
    for _ in range(ROUNDS):
        body = twins[0].body("chart")
        answers = at_once(8, lambda n: twins[n % 2].call("POST", "requests", json=body))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        others = at_once(8, lambda n: twins[n % 2].call("POST", "requests", json=twins[0].body("chart")))
        assert [answer.status_code for answer in others] == [200] * 8
        (request,) = {answer.json()["request"]["request_id"] for answer in answers}
        assert len(twins[0].call("GET", f"requests/{request}").json()["jobs"]) == 3
        twins[0].call("POST", f"requests/{request}/cancel")


def test_claims_at_once_at_both_give_one_attempt(twins: tuple[Site, Site]) -> None:
    agents = [twin.agent() for twin in twins]
    job = twins[0].ask("other")["jobs"][0]["job_id"]
    leases = at_once(8, lambda n: agents[n % 2].claim(job))
    assert {lease.attempt for lease in leases} == {1}
    # A claim whose sender did not see the first one is refused, not counted as another try.
    with pytest.raises(Rejected):
        agents[1].claim(job, 2)
    assert twins[0].server.query("SELECT attempt, tries FROM jobs_job WHERE job_id = ?", job) == [(1, 1)]


def test_ends_at_once_at_both_release_what_waited_for_all_of_them(twins: tuple[Site, Site]) -> None:
    """Neither end alone sees the other; whoever comes second must, or the last action waits for ever."""
    study = twins[0].study
    wide = {f"a{number}": () for number in range(6)}
    lines = ["version: '5.0'", "actions:"]
    for number, name in enumerate(wide):
        lines.append(
            f"  {name}: {{run: 'python:v2 a.py {number}', outputs: {{highly_sensitive: {{o: {name}.csv}}}}}}"
        )
    lines.append(
        f"  join: {{run: 'python:v2 join.py', needs: [{', '.join(wide)}],"
        " outputs: {highly_sensitive: {o: join.csv}}}"
    )
    branch = f"wide-{twins[0].project}"
    study.switch(branch, start="main")
    commit = study.commit({"project.yaml": "\n".join(lines) + "\n"})
    study.switch("main")
    approval = twins[0].approve(branches=["main", branch], serial=2)
    twins[0].server.command("add-approval", str(approval))
    agents = [twin.agent() for twin in twins]
    for _ in range(ROUNDS):
        request = twins[0].ask("join", branch=branch, commit=commit, force=True)
        jobs = {job["action"]: job["job_id"] for job in request["jobs"]}
        leases = at_once(6, lambda n: agents[n % 2].claim(jobs[f"a{n}"]))  # noqa: B023

        def end(number: int, jobs: dict[str, str] = jobs, leases: list[Lease] = leases) -> EventsReply:
            return agents[number % 2].end(jobs[f"a{number}"], leases[number])

        at_once(6, end)
        seen = twins[0].look(request["request_id"])
        assert seen["join"] == ("pending", "waiting_for_agent")
        agents[0].run(jobs["join"])
        [(state, finished)] = twins[0].server.query(
            "SELECT state, finished_at FROM jobs_jobrequest WHERE request_id = ?", request["request_id"]
        )
        assert state == "succeeded"
        assert finished is not None
        events = twins[0].server.query(
            "SELECT e.reason FROM jobs_jobevent e JOIN jobs_job j ON j.id = e.job_id WHERE j.job_id = ?"
            " ORDER BY e.id",
            jobs["join"],
        )
        assert [reason for (reason,) in events] == [
            "waiting_for_dependencies",
            "waiting_for_agent",
            "preparing",
            "completed",
        ]
