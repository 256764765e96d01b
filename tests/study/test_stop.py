"""Work that another thread ends: whatever it waits for, it ends at once, and leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from jobrunner.study import Stop, Stopped, extract
from jobrunner.study.addresses import resolve
from jobrunner.study.deadline import Deadline
from jobrunner.study.locks import locked
from jobrunner.study.repository_url import parse_repository_url
from tests.study.evil_hosts import hanging, narrow
from tests.study.sites import open_site

pytestmark = [pytest.mark.http, pytest.mark.slow]


@contextmanager
def stopped_soon(work: Callable[[Stop], object], when: Callable[[], bool]) -> Iterator[float]:
    """Stop the work once `when` holds; it must end as Stopped. Yields how long that took."""
    stop = Stop()
    ends: list[BaseException] = []

    def run() -> None:
        try:
            work(stop)
        except BaseException as end:  # noqa: BLE001 (looked at below)
            ends.append(end)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while not when():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    stop.ask()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(end) for end in ends] == [Stopped]
    yield time.monotonic() - began


def at_work_on(mirrors: Path) -> list[psutil.Process]:
    """All processes of this machine that were told of a mirror, by argument or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(mirrors) in word for word in told):
            found.append(process)
    return found


def test_P21_a_fetch_from_a_silent_host_is_killed_with_all_its_processes(tmp_path: Path) -> None:
    asked: list[str] = []
    with open_site(tmp_path, hanging(4, asked)) as site:
        commit = site.study.head

        def work(stop: Stop) -> object:
            return site.mirrors().pin(site.url, "main", commit, stop=stop)

        def begun() -> bool:
            return bool(asked) and len(at_work_on(tmp_path / "mirrors")) > 1

        with stopped_soon(work, begun) as took:
            assert took < 2
        assert at_work_on(tmp_path / "mirrors") == []
        # The mirror is free for the next one at once.
        lock = next((tmp_path / "mirrors").glob("*.lock"))
        with locked(lock, Deadline.after(0, None)):
            pass


def test_P21_a_fetch_that_drips_is_stopped_and_leaves_no_part_file(tmp_path: Path) -> None:
    # git hands a packet of up to 64 KiB on when it is whole: it must come well before `begun` is given up.
    with open_site(tmp_path, narrow(rate=30_000)) as site:
        site.study.commit({"big": os.urandom(600_000)})
        commit = site.study.head
        mirrors = site.root / "mirrors"

        def begun() -> bool:
            return any(mirrors.glob("*/objects/pack/tmp_*"))

        with stopped_soon(
            lambda stop: site.mirrors().pin(site.url, "main", commit, stop=stop), begun
        ) as took:
            assert took < 2
        assert not begun()
        assert at_work_on(tmp_path / "mirrors") == []


def test_P21_waiting_for_the_fetch_of_another_attempt_is_stopped(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        commit = site.pin().commit
        lock = next((tmp_path / "mirrors").glob("*.lock"))
        with locked(lock, Deadline.after(1, None)):
            waits = threading.Event()

            def work(stop: Stop) -> object:
                waits.set()
                return site.mirrors().pin(site.url, "main", commit, stop=stop)

            with stopped_soon(work, waits.is_set) as took:
                assert took < 1
        assert site.pin().commit == commit


def test_P21_the_writing_of_a_tree_is_stopped_and_nothing_of_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_site(tmp_path) as site:
        site.study.commit({f"f{number}": str(number) for number in range(300)})
        pinned = site.pin()
        trees = tmp_path / "trees"
        written = threading.Event()
        fsync = os.fsync

        def slowly(descriptor: int) -> None:
            written.set()
            time.sleep(0.02)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", slowly)
        with stopped_soon(lambda stop: extract(pinned, trees, site.rules(), stop), written.is_set) as took:
            assert took < 4
        assert [path.name for path in trees.iterdir() if not path.name.endswith(".lock")] == []
        monkeypatch.undo()
        assert extract(pinned, trees, site.rules()).is_dir()


def test_P21_a_resolver_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        rules = site.rules()
        url = parse_repository_url(site.url, rules)
        asked, over = threading.Event(), threading.Event()

        def hang(*_: object, **__: object) -> list[object]:
            asked.set()
            over.wait(10)
            return []

        def work(stop: Stop) -> object:
            return resolve(url, rules, Deadline.after(60, None, stop))

        monkeypatch.setattr("socket.getaddrinfo", hang)
        with stopped_soon(work, asked.is_set) as took:
            assert took < 2
        over.set()


@pytest.mark.parametrize("before", [True, False])
def test_a_call_is_made_once_and_never_after_the_block(before: bool) -> None:
    stop, calls = Stop(), []
    if before:
        stop.ask()
    with stop.calling(lambda: calls.append("inside")):
        if not before:
            stop.ask()
    assert calls == ["inside"]
    with pytest.raises(Stopped):
        stop.check()
    assert stop.wait(10)

    later = Stop()
    with later.calling(lambda: calls.append("too late")):
        pass
    later.ask()
    assert calls == ["inside"]
