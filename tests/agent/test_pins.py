"""Jobs of one request that begin together share one fetch, and nothing else does."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner.agent import pins
from jobrunner.agent.pins import Pin, Pins
from jobrunner.study import (
    CommitNotFound,
    CommitNotOnBranch,
    IntakeError,
    Limits,
    Stop,
    Stopped,
    Unreachable,
)
from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import Offer
from tests.study.evil_hosts import hanging, recording
from tests.study.sites import PROJECT, Site, open_site

pytestmark = [pytest.mark.http, pytest.mark.slow]


@pytest.fixture
def seen() -> list[dict[str, str]]:
    """Headers of every request that the host got."""
    return []


@pytest.fixture
def site(tmp_path: Path, seen: list[dict[str, str]]) -> Iterator[Site]:
    with open_site(tmp_path, recording(seen)) as opened:
        yield opened


def offer_of(site: Site, request: str, commit: str | None = None, action: str = "a") -> Offer:
    return Offer(
        request_id=request, project="study", repo=site.url, branch="main",
        commit=commit or site.study.head, action=action, approval=None,
    )  # fmt: skip


def rewrite(site: Site) -> None:
    """The branch no longer holds the commit that it held."""
    site.study.switch("main", start="HEAD~1")
    site.study.commit({"other.py": ""}, push=False)
    site.study.push(force=True)


def test_jobs_of_one_request_that_begin_together_fetch_once(site: Site, seen: list[dict[str, str]]) -> None:
    alone = Pins(site.mirrors())
    alone.pin(offer_of(site, new_id()))
    del seen[:]
    alone.pin(offer_of(site, new_id()))
    of_one_fetch = len(seen)
    del seen[:]
    shared, request, got = Pins(site.mirrors()), new_id(), []
    threads = [
        threading.Thread(target=lambda n=n: got.append(shared.pin(offer_of(site, request, action=f"a{n}"))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {pin.pipeline_file for pin in got} == {PROJECT.encode()}
    assert (len(got), len(seen)) == (8, of_one_fetch)


def test_G10_another_request_sees_that_the_branch_was_rewritten(site: Site) -> None:
    old, first = site.study.commit({"b.py": ""}), new_id()
    shared = Pins(site.mirrors())
    shared.pin(offer_of(site, first, old))
    rewrite(site)
    with pytest.raises(CommitNotOnBranch):
        shared.pin(offer_of(site, new_id(), old))
    assert shared.pin(offer_of(site, first, old)).commit.commit == old


def test_G10_the_same_request_sees_it_when_the_time_is_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, request = site.study.commit({"b.py": ""}), new_id()
    shared = Pins(site.mirrors())
    shared.pin(offer_of(site, request, old))
    rewrite(site)
    monkeypatch.setattr(pins, "SHARED_FOR_S", -1.0)
    with pytest.raises(CommitNotOnBranch):
        shared.pin(offer_of(site, request, old))


def test_G09_what_one_commit_proved_says_nothing_of_another(site: Site) -> None:
    shared, request = Pins(site.mirrors()), new_id()
    shared.pin(offer_of(site, request))
    with pytest.raises(CommitNotFound):
        shared.pin(offer_of(site, request, "a" * 40))


class Asking:
    """A job that asks for its pin in a thread of its own; `end` is what came of it."""

    def __init__(self, shared: Pins, offer: Offer) -> None:
        self.stop = Stop()
        self.end: Pin | IntakeError | Stopped | None = None
        self._thread = threading.Thread(target=self._ask, args=(shared, offer), daemon=True)
        self._thread.start()

    def _ask(self, shared: Pins, offer: Offer) -> None:
        try:
            self.end = shared.pin(offer, self.stop)
        except (IntakeError, Stopped) as end:
            self.end = end

    def result(self) -> Pin | IntakeError | Stopped | None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.end


@pytest.fixture
def asked() -> list[str]:
    """Paths of every request that the silent host got."""
    return []


@pytest.fixture
def silent(tmp_path: Path, asked: list[str]) -> Iterator[Site]:
    """A host that takes every request and says nothing."""
    with open_site(tmp_path, hanging(6, asked)) as opened:
        yield opened


def until_asked(asked: list[str], times: int) -> None:
    deadline = time.monotonic() + 10
    while len(asked) < times:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_P21_a_host_that_does_not_answer_holds_up_all_jobs_of_a_request_once(
    silent: Site, asked: list[str]
) -> None:
    # Git must get to the host in this time on a busy machine.
    shared, request = Pins(silent.mirrors(Limits(fetch_seconds=3))), new_id()
    began = time.monotonic()
    jobs = [Asking(shared, offer_of(silent, request, action=f"a{number}")) for number in range(6)]
    ends = [job.result() for job in jobs]
    assert {type(end) for end in ends} == {Unreachable}
    assert time.monotonic() - began < 6
    assert len(asked) == 1
    # Who comes after that asks again.
    late = Asking(shared, offer_of(silent, request))
    until_asked(asked, 2)
    late.stop.ask()
    assert isinstance(late.result(), Stopped)


def test_P21_who_waits_for_the_fetch_of_another_can_be_stopped_and_does_not_stop_others(
    silent: Site, asked: list[str]
) -> None:
    shared, request = Pins(silent.mirrors(Limits(fetch_seconds=3))), new_id()
    fetching = Asking(shared, offer_of(silent, request))
    until_asked(asked, 1)
    stopped, other = (Asking(shared, offer_of(silent, request)) for _ in range(2))
    stopped.stop.ask()
    assert isinstance(stopped.result(), Stopped)
    assert fetching.end is None
    fetching.stop.ask()
    assert isinstance(fetching.result(), Stopped)
    # That somebody was stopped says nothing about the host.
    until_asked(asked, 2)
    assert isinstance(other.result(), Unreachable)


def test_who_asks_long_after_a_fetch_began_does_not_get_its_failure(
    silent: Site, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "SHARED_FOR_S", 0.2)
    shared, request = Pins(silent.mirrors(Limits(fetch_seconds=3))), new_id()
    first = Asking(shared, offer_of(silent, request))
    until_asked(asked, 1)
    time.sleep(0.3)
    later = [Asking(shared, offer_of(silent, request)) for _ in range(4)]
    assert {type(job.result()) for job in (first, *later)} == {Unreachable}
    # They share the one that the first of them made.
    assert len(asked) == 2


def test_what_was_forgotten_is_fetched_again(site: Site, seen: list[dict[str, str]]) -> None:
    shared, offer = Pins(site.mirrors()), offer_of(site, new_id())
    shared.pin(offer)
    shared.forget(offer)
    del seen[:]
    shared.pin(offer)
    assert seen
