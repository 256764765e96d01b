"""Jobs of one request that begin together share one fetch, and nothing else does."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner.agent import pins
from jobrunner.agent.pins import Pins
from jobrunner.study import CommitNotFound, CommitNotOnBranch
from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import Offer
from tests.study.evil_hosts import recording
from tests.study.sites import PROJECT, Site, open_site

pytestmark = pytest.mark.http


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


def test_what_was_forgotten_is_fetched_again(site: Site, seen: list[dict[str, str]]) -> None:
    shared, offer = Pins(site.mirrors()), offer_of(site, new_id())
    shared.pin(offer)
    shared.forget(offer)
    del seen[:]
    shared.pin(offer)
    assert seen
