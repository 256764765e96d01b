"""Several attempts at once: what they share must not be taken, counted or taken away twice."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobrunner.executors import disks, workspace
from jobrunner.executors.base import Limits, SandboxRefused
from jobrunner.executors.workspace import Workspace

pytestmark = pytest.mark.unit

needs_mkfs = pytest.mark.skipif(
    shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin") is None, reason="no mkfs.ext4"
)


@needs_mkfs
def test_two_that_look_for_room_at_once_do_not_get_the_same_room(tmp_path: Path) -> None:
    blanks, attempts = tmp_path / "blanks", tmp_path / "attempts"
    blanks.mkdir()
    free = os.statvfs(tmp_path)
    limits = Limits(disk=free.f_bavail * free.f_frsize * 6 // 10, inodes=1000)
    places = [attempts / f"a{number}" for number in range(6)]
    for place in places:
        place.mkdir(parents=True)
    together = threading.Barrier(len(places))

    def take(place: Path) -> str:
        together.wait()
        try:
            disks.take(blanks, limits, place / "disk.img")
        except SandboxRefused as refused:
            return refused.detail
        return "taken"

    with ThreadPoolExecutor(len(places)) as threads:
        assert sorted(threads.map(take, places)) == ["disk_low"] * 5 + ["taken"]


@needs_mkfs
def test_each_takes_an_empty_disk_of_its_own(tmp_path: Path) -> None:
    blanks, attempts = tmp_path / "blanks", tmp_path / "attempts"
    blanks.mkdir()
    limits = Limits(disk=16 * 2**20, inodes=1000)
    disks.make_ready(blanks, limits)
    [blank] = blanks.iterdir()
    made = blank.read_bytes()
    places = [attempts / f"a{number}" / "disk.img" for number in range(5)]
    for place in places:
        place.parent.mkdir(parents=True)
    with ThreadPoolExecutor(len(places)) as threads:
        list(threads.map(lambda place: disks.take(blanks, limits, place), places))
    assert len({place.stat().st_ino for place in (blank, *places)}) == 6
    assert {place.read_bytes() for place in places} == {made}
    assert list(blanks.iterdir()) == [blank]


@needs_mkfs
def test_a_disk_of_usual_size_takes_little_room(tmp_path: Path) -> None:
    blanks, place = tmp_path / "blanks", tmp_path / "attempts" / "a" / "disk.img"
    blanks.mkdir()
    place.parent.mkdir(parents=True)
    disks.take(blanks, Limits(), place)
    status = place.stat()
    assert status.st_size == Limits().disk
    assert status.st_blocks * 512 < 2 * 2**20


@needs_mkfs
def test_what_another_agent_left_of_disks_is_not_used(tmp_path: Path) -> None:
    work, limits = tmp_path / "work", Limits(disk=16 * 2**20, inodes=1000)
    workspace.open_work(work)
    disks.make_ready(work / "blanks", limits)
    (work / "blanks" / "half.new").touch()
    workspace.open_work(work)
    assert list((work / "blanks").iterdir()) == []


def test_attempts_that_are_cleaned_up_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    work = tmp_path / "work"
    workspace.open_work(work)
    for _round in range(30):
        spaces = [Workspace(work, f"jr-{number}") for number in range(8)]
        for number, space in enumerate(spaces):
            space.disk.mkdir(parents=True)
            (work / "uids" / str(200_000 + number)).symlink_to(space.name)
        with ThreadPoolExecutor(len(spaces)) as threads:
            list(threads.map(workspace.clean_up, spaces))
        assert list((work / "uids").iterdir()) == []
        assert list((work / "attempts").iterdir()) == []
