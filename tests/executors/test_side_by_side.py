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
    pool, attempts = tmp_path / "pool", tmp_path / "attempts"
    pool.mkdir()
    free = os.statvfs(tmp_path)
    limits = Limits(disk=free.f_bavail * free.f_frsize * 6 // 10, inodes=1000)
    places = [attempts / f"a{number}" for number in range(6)]
    for place in places:
        place.mkdir(parents=True)
    together = threading.Barrier(len(places))

    def take(place: Path) -> str:
        together.wait()
        try:
            disks.take(pool, limits, place / "disk.img")
        except SandboxRefused as refused:
            return refused.detail
        return "taken"

    with ThreadPoolExecutor(len(places)) as threads:
        assert sorted(threads.map(take, places)) == ["disk_low"] * 5 + ["taken"]


@needs_mkfs
def test_each_takes_a_disk_of_its_own_from_the_pool(tmp_path: Path) -> None:
    pool, attempts = tmp_path / "pool", tmp_path / "attempts"
    pool.mkdir()
    limits = Limits(disk=16 * 2**20, inodes=1000)
    disks.fill(pool, limits, 3)
    ready = {path.stat().st_ino for path in pool.iterdir()}
    places = [attempts / f"a{number}" / "disk.img" for number in range(5)]
    for place in places:
        place.parent.mkdir(parents=True)
    with ThreadPoolExecutor(len(places)) as threads:
        list(threads.map(lambda place: disks.take(pool, limits, place), places))
    taken = {place.stat().st_ino for place in places}
    assert len(taken) == 5
    assert ready < taken


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
