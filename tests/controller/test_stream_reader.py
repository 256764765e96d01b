"""The one reader behind all viewers: it goes on whatever happens to one look."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jobrunner.controller.feed import stream
from jobrunner.controller.feed.happenings import Happening
from jobrunner.controller.feed.stream import Stream, Wanted
from jobrunner.controller.jobs.transitions import State

pytestmark = [pytest.mark.unit, pytest.mark.slow]


def happening(event_id: int) -> Happening:
    return Happening(
        event_id=event_id,
        request_id="r",
        request_state=State.RUNNING,
        project="p",
        backend="b",
        job_id="j",
        action="a",
        state=State.RUNNING,
        reason="executing",
        why="The code runs.",
        attempt=1,
        at=0,
    )


class Events:
    """What is read of the database: nothing at first, then trouble twice, then two events."""

    def __init__(self, trouble: Exception) -> None:
        self.trouble = [trouble, trouble]

    def newest(self, after: int, limit: int) -> list[Happening]:
        return []

    def following(self, after: int, limit: int) -> list[Happening]:
        if self.trouble:
            raise self.trouble.pop()
        return [happening(number) for number in (1, 2) if number > after]


async def watched() -> bytes:
    """What one viewer is told within some seconds."""
    reader = Stream()
    async with reader.watching() as woken, asyncio.timeout(5):
        await woken.wait()
        return reader.since(0, Wanted()).text


@pytest.mark.parametrize("trouble", [ValueError("no such state"), MemoryError(), RuntimeError()])
def test_trouble_of_any_kind_is_noted_once_and_outlived(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(trouble)
    monkeypatch.setattr(stream, "newest", events.newest)
    monkeypatch.setattr(stream, "following", events.following)
    with caplog.at_level(logging.ERROR):
        text = asyncio.run(watched())
    assert text.count(b"event: job") == 2
    assert [record.message for record in caplog.records] == ["the live stream cannot read what is new"]


def test_an_event_that_cannot_be_told_leaves_the_window_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(ValueError())
    events.trouble.clear()
    monkeypatch.setattr(stream, "newest", events.newest)
    monkeypatch.setattr(stream, "following", events.following)
    real, trouble = stream.as_event, [ValueError()]

    def as_event(happening: Happening) -> bytes:
        if happening.event_id == 2 and trouble:
            raise trouble.pop()
        return real(happening)

    monkeypatch.setattr(stream, "as_event", as_event)
    assert asyncio.run(watched()).count(b"event: job") == 2
