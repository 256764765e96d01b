"""The live stream under those who are slow, many, or gone, and when the server stops."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.fixtures.controller_server import ControllerServer
from tests.fixtures.controller_sites import Site, served_sites
from tests.fixtures.viewer import Viewer, ids

pytestmark = [pytest.mark.http, pytest.mark.slow]

SEATS = 4
SEATS_OF_ONE = 2
PATIENCE_S = 2


FILES = 256


@pytest.fixture
def few_files() -> Iterator[int]:
    """This process, and those that it starts, may open few files; gives what they may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on a server with few seats, a quick heart and little patience."""
    folder = tmp_path_factory.mktemp("limits")
    with served_sites(
        folder,
        count=1,
        STREAM_VIEWERS=str(SEATS),
        STREAM_VIEWERS_OF_ONE_ADDRESS=str(SEATS_OF_ONE),
        STREAM_HEARTBEAT_SECONDS="1",
        PATIENCE_SECONDS=str(PATIENCE_S),
    ) as (made,):
        made.ask("other")
        yield made


def eventually(true: Callable[[], bool], within_s: float = 5) -> None:
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.05)


def status(site: Site, **headers: str) -> int:
    """What somebody who comes now is answered."""
    with requests.get(f"{site.server.url}/feed/events", headers=headers, stream=True, timeout=10) as answer:
        return answer.status_code


def free_seats(site: Site) -> int:
    with ExitStack() as stack:
        for taken in range(SEATS + 1):
            answer = stack.enter_context(
                requests.get(f"{site.server.url}/feed/events", stream=True, timeout=10)
            )
            if answer.status_code == 503:
                return taken
    raise AssertionError("more seats than there are")


def watch(site: Site, **options: Any) -> Viewer:
    """A viewer, as soon as those who asked before have left their seats."""
    until = time.monotonic() + 2
    while True:
        try:
            return Viewer.watch(site.server.url, **options)
        except AssertionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def append(site: Site, count: int) -> int:
    """Append events from another process; returns the id of the last."""
    site.server.query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO jobs_jobevent (job_id, at, state, reason, attempt)"
        " SELECT id, changed_at, 'running', 'executing', 1 FROM n, jobs_job",
        count,
    )
    return int(site.server.query("SELECT max(id) FROM jobs_jobevent")[0][0])


def test_who_finds_no_seat_is_told_when_to_come_back(site: Site) -> None:
    with ExitStack() as stack:
        viewers = [stack.enter_context(watch(site)) for _ in range(SEATS)]
        answer = requests.get(f"{site.server.url}/feed/events", timeout=10)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
        assert 30 <= int(answer.headers["retry-after"]) <= 90
        viewers[0].close()
        eventually(lambda: status(site) == 200)


def test_one_address_has_few_seats_whatever_it_claims(site: Site) -> None:
    crowd = {"X-Forwarded-For": "198.51.100.7"}
    claims = {"X-Forwarded-For": "203.0.113.1, 198.51.100.7"}
    with ExitStack() as stack:
        for _ in range(SEATS_OF_ONE):
            stack.enter_context(watch(site, headers=crowd))
        assert status(site, **crowd) == 503
        assert status(site, **claims) == 503
        assert status(site, **{"X-Forwarded-For": "198.51.100.8"}) == 200
        assert status(site) == 200


def test_an_address_is_a_household_in_ipv6(site: Site) -> None:
    with ExitStack() as stack:
        for number in range(SEATS_OF_ONE):
            one = {"X-Forwarded-For": f"2001:db8::{number:x}"}
            stack.enter_context(watch(site, headers=one))
        assert status(site, **{"X-Forwarded-For": "2001:db8::ffff"}) == 503
        assert status(site, **{"X-Forwarded-For": "2001:db8:0:1::1"}) == 200


def test_whoever_leaves_is_forgotten_at_once(site: Site) -> None:
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(SEATS):
                stack.enter_context(watch(site))
            assert free_seats(site) == 0
        eventually(lambda: free_seats(site) == SEATS, 0.6)


def test_a_silent_stream_has_a_heart_beat_that_keeps_the_place(site: Site) -> None:
    with watch(site, project="no-such-project") as viewer:
        first = viewer.last_id
        last = append(site, 3)
        viewer.until_comments(3, 6)
        assert viewer.events == []
        assert (viewer.last_id, last - 3) == (last, first)


def test_a_heart_beats_though_others_are_told_something_all_the_time(site: Site) -> None:
    with watch(site, project="no-such-project") as viewer:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            append(site, 1)
            time.sleep(0.2)
        assert viewer.comments >= 2


@pytest.mark.slow
def test_a_slow_viewer_is_cut_off_and_harms_nobody(site: Site) -> None:
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", site.server.port))
    with slow, watch(site) as viewer:
        slow.sendall(f"GET /feed/events HTTP/1.1\r\nHost: {site.server.url[7:]}\r\n\r\n".encode())
        eventually(lambda: free_seats(site) == SEATS - 2)
        before = viewer.last_id
        assert before is not None
        # More than all buffers between the two hold.
        for _ in range(15):
            last = append(site, 800)
            seen = viewer.until(lambda events, last=last: bool(events) and events[-1].id == last)
        assert ids(seen) == list(range(before + 1, last + 1))
        assert site.server.process is not None
        serving = psutil.Process(site.server.process.pid)
        port = slow.getsockname()[1]
        eventually(
            lambda: port not in [c.raddr.port for c in serving.net_connections("tcp") if c.raddr],
            PATIENCE_S + 5,
        )
        eventually(lambda: free_seats(site) == SEATS - 1, 1)
        append(site, 1)
        viewer.until(lambda events: events[-1].id == last + 1)


def test_the_server_stops_though_people_watch(tmp_path: Path) -> None:
    with served_sites(tmp_path, count=1) as (site,):
        viewers = [Viewer.watch(site.server.url) for _ in range(20)]
        began = time.monotonic()
        site.server.stop()
        assert time.monotonic() - began < 5
        for viewer in viewers:
            viewer.until_ended()
            # It ended as an answer ends, and was not broken off.
            assert viewer.response.isclosed()
            viewer.close()
    assert "Traceback" not in (tmp_path / "data.log").read_text()


def test_the_server_opens_as_many_files_as_the_system_lets_it(tmp_path: Path, few_files: int) -> None:
    with ControllerServer.start(tmp_path / "data", git_prefixes=()) as server:
        assert server.process is not None
        assert psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (few_files, few_files)
