"""Claims stop when a disk is nearly full or the clock jumped back, and the journal has room of its own."""

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import capture_logs

from jobrunner.agent import clock, host_watch, last_second
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.halts import Cause, refuse_while
from jobrunner.agent.host_watch import MOST_BEHIND_S, HostWatch, free_percent
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import Ended
from jobrunner.agent.reserve import SIZE
from jobrunner.sync.vocabulary import Reason

pytestmark = pytest.mark.unit

NOON = 1_795_348_800


class Host:
    """A watch over a real journal, with a disk and a clock that the test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = folder / "state"
        self.free, self.now = 50.0, NOON
        self.full = ""
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(os, "statvfs", self._statvfs)
        self.journal = Journal(self.state / "agent.db")
        self.start()

    def _statvfs(self, folder: Path) -> SimpleNamespace:
        free = 500 if self.full and folder.name != self.full else int(self.free * 10)
        return SimpleNamespace(f_bavail=free, f_blocks=1000)

    def start(self) -> None:
        """As when the agent starts anew."""
        self.desk = Desk(1)
        folders = {"folders.high": self.state.parent / "high", "folders.state": self.state}
        self.watch = HostWatch(self.journal, self.desk, folders, 10)

    def look(self) -> set[Cause]:
        self.watch.look()
        assert self.desk.accepting == (not self.desk.halts)
        return set(self.desk.halts)

    def details(self) -> list[tuple[str, str]]:
        return [(row[3], row[4]) for row in self.journal.incidents(10)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=str)])
    yield Host(tmp_path, monkeypatch)
    structlog.reset_defaults()


def test_claims_stop_below_a_tenth_and_go_on_by_themselves(host: Host) -> None:
    assert host.look() == set()
    host.free = 9.9
    assert host.look() == {Cause.DISK}
    assert "9.9 % free" in host.desk.halts[Cause.DISK]
    assert host.look() == {Cause.DISK}
    # The operator reads of it once.
    assert host.details() == [("internal_error", "disk_low")]
    host.free = 10
    assert host.look() == set()
    refuse_while(set())
    refuse_while({Cause.DISK})


@pytest.mark.parametrize("full", ["high", "state"])
def test_any_of_the_disks_is_enough_and_is_named(host: Host, full: str) -> None:
    host.full, host.free = full, 1.0
    assert host.look() == {Cause.DISK}
    assert f"folders.{full}" in host.desk.halts[Cause.DISK]


def test_a_disk_that_cannot_be_asked_counts_as_full(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_folder: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "statvfs", gone)
    assert host.look() == {Cause.DISK}


def test_what_is_free_is_told_as_df_does(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    assert free_percent(tmp_path) == pytest.approx(100 * disk.f_bavail / disk.f_blocks, abs=1)
    assert free_percent(tmp_path / "missing") == 0


def test_a_clock_that_jumped_back_stops_claims_until_it_is_right(host: Host) -> None:
    assert host.look() == set()
    host.now = NOON - MOST_BEHIND_S
    assert host.look() == set()
    host.now -= 1
    assert host.look() == {Cause.CLOCK}
    assert "jobrunner agent trust-clock" in host.desk.halts[Cause.CLOCK]
    host.start()
    assert host.look() == {Cause.CLOCK}, "a new start of the agent does not make it right"
    with pytest.raises(Ended) as refused:
        refuse_while(host.desk.halts)
    assert (refused.value.outcome.reason, refused.value.outcome.detail) == (Reason.SITE_POLICY, "clock")
    host.now = NOON
    assert host.look() == set()


def test_a_clock_that_creeps_back_is_found_too(host: Host) -> None:
    for _step in range(5):
        assert host.look() == set()
        host.now -= 70
    assert host.look() == {Cause.CLOCK}


def test_the_time_is_kept_each_minute_and_no_more_often(host: Host) -> None:
    kept = []
    for second in range(0, 150, 10):
        host.now = NOON + second
        host.look()
        with host.journal.transaction() as connection:
            kept.append(last_second.find(connection))
    assert sorted({second - NOON for second in kept if second is not None}) == [0, 60, 120]


def test_the_operator_may_say_that_the_clock_was_wrong_before(host: Host) -> None:
    host.now = NOON + 10**8
    assert host.look() == set()
    host.now = NOON
    assert host.look() == {Cause.CLOCK}
    host.watch.trust_clock()
    assert host.desk.accepting
    assert host.look() == set()
    assert host.details() == [("site_policy", "clock")] * 2


def test_a_look_that_fails_does_not_end_the_watch(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_watch, "_LOOK_EVERY_S", 0.01)
    looked = threading.Event()
    looks = iter([sqlite3.OperationalError("database or disk is full")])

    def look() -> None:
        for problem in looks:
            raise problem
        looked.set()

    monkeypatch.setattr(host.watch, "look", look)
    finished = threading.Event()
    thread = threading.Thread(target=host.watch.run, args=(finished,))
    with capture_logs() as logs:
        thread.start()
        assert looked.wait(5)
        finished.set()
        thread.join(5)
    assert not thread.is_alive()
    assert [entry["event"] for entry in logs] == ["watch_failed"]


# --- the reserve ---


def test_the_reserve_is_taken_while_there_is_room_and_not_below(host: Host) -> None:
    host.free = 9
    host.look()
    assert not (host.state / "reserve").exists()
    host.free = 50
    host.look()
    taken = (host.state / "reserve").stat()
    assert (taken.st_size, taken.st_blocks * 512 >= SIZE, taken.st_mode & 0o777) == (SIZE, True, 0o600)
    host.look()
    assert (host.state / "reserve").stat().st_ino == taken.st_ino
    os.truncate(host.state / "reserve", 5)
    host.look()
    assert (host.state / "reserve").stat().st_size == SIZE


def test_a_journal_that_finds_no_room_gives_the_reserve_away(host: Host) -> None:
    host.look()
    connection = host.journal._connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        host.journal.note("x", "", "m" * 100_000)
    assert not (host.state / "reserve").exists()


def test_another_error_does_not_give_it_away(host: Host) -> None:
    host.look()
    with pytest.raises(sqlite3.OperationalError), host.journal.transaction() as connection:
        connection.execute("SELECT nothing")
    assert (host.state / "reserve").exists()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 4096):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_on_a_full_disk_what_runs_can_still_be_told_and_the_agent_started(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=70m", "none", str(small)], check=True)
    try:
        journal = Journal(small / "agent.db")
        journal.reserve.keep()
        fill(small / "filler")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            journal.note("x", "", "m" * 100_000)
        journal.note("x", "", "m" * 100_000)
        assert len(Journal(small / "agent.db").incidents(5)) == 1
        journal._connection().close()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
