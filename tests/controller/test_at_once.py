"""Many who ask at once: how many are answered together, what the others are told, and what is left open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests

from jobrunner.controller.at_once import AtOnce
from tests.fixtures.controller_sites import Site, served_sites

PLACES = 3


class Slow:
    """An application whose answers are made when it is told so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.making = self.most = 0
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.making += 1
        self.most = max(self.most, self.making)
        try:
            await self.go.wait()
            if self.error is not None:
                raise self.error
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"made"})
        finally:
            self.making -= 1


async def ask(app: AtOnce) -> list[dict[str, Any]]:
    """What somebody is sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing more is asked of the caller")

    await app({"type": "http"}, receive, send)
    return sent


@pytest.mark.unit
def test_only_so_many_are_answered_together_and_all_in_the_end() -> None:
    async def play() -> None:
        slow = Slow()
        app = AtOnce(slow, places=PLACES, wait_s=10)
        asked = [asyncio.create_task(ask(app)) for _ in range(4 * PLACES)]
        await asyncio.sleep(0.05)
        assert slow.making == PLACES
        slow.go.set()
        answers = await asyncio.gather(*asked)
        assert [(start["status"], body["body"]) for start, body in answers] == [(200, b"made")] * 4 * PLACES
        assert slow.most == PLACES

    asyncio.run(play())


@pytest.mark.unit
def test_who_waited_too_long_is_told_when_to_come_back() -> None:
    async def play() -> None:
        slow = Slow()
        app = AtOnce(slow, places=PLACES, wait_s=0.1)
        asked = [asyncio.create_task(ask(app)) for _ in range(PLACES)]
        await asyncio.sleep(0)
        start, body = await ask(app)
        assert start["status"] == 503
        assert int(dict(start["headers"])[b"retry-after"]) > 0
        assert b"busy" in body["body"]
        slow.go.set()
        await asyncio.gather(*asked)
        start, _ = await ask(app)
        assert start["status"] == 200

    asyncio.run(play())


@pytest.mark.unit
def test_a_place_is_given_back_whatever_happens() -> None:
    async def play() -> None:
        slow = Slow()
        app = AtOnce(slow, places=1, wait_s=0.1)
        gone = asyncio.create_task(ask(app))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        slow.go.set()
        slow.error = ZeroDivisionError()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await ask(app)
        slow.error = None
        start, _ = await ask(app)
        assert start["status"] == 200

    asyncio.run(play())


@pytest.mark.unit
def test_who_takes_nothing_of_the_answer_keeps_nobody_out() -> None:
    async def play() -> None:
        slow = Slow()
        slow.go.set()
        app = AtOnce(slow, places=1, wait_s=0.1)
        never = asyncio.Event()

        async def stuck(message: Any) -> None:
            await never.wait()

        reader = asyncio.create_task(app({"type": "http"}, never.wait, stuck))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        start, _ = await ask(app)
        assert start["status"] == 200
        reader.cancel()

    asyncio.run(play())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on a server of which nobody else asks anything."""
    with served_sites(tmp_path_factory.mktemp("at-once"), count=1) as (made,):
        made.ask("other")
        yield made


def at_rest(read: Callable[[], int]) -> int:
    """The lowest of some readings: connections of ours take a moment to go."""
    found = []
    for _ in range(10):
        found.append(read())
        time.sleep(0.05)
    return min(found)


@pytest.mark.slow
@pytest.mark.http
@pytest.mark.parametrize("path", ["/", "/api/v1/requests/unknown"])
def test_pages_and_calls_leave_few_files_open(site: Site, path: str) -> None:
    assert site.server.process is not None
    serving = psutil.Process(site.server.process.pid)

    def load(count: int) -> set[int]:
        headers = {"Authorization": f"Bearer {site.token}"}
        with ThreadPoolExecutor(count) as pool:
            answers = pool.map(
                lambda _: requests.get(site.server.url + path, headers=headers, timeout=30), range(count)
            )
            return {answer.status_code for answer in answers}

    load(1)
    before = at_rest(serving.num_fds)
    for _ in range(3):
        assert load(60) <= {200, 404}
    # SQLite keeps a file of a closed connection for the next one, as long as any other connection is open.
    assert at_rest(serving.num_fds) <= before + 16 + 2
