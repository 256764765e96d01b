"""How many jobs run at once follows from what the machine has, and a policy that asks for more is refused."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.agent.capacity import Machine, places, this_machine
from jobrunner.agent.policy import MOST_SLOTS, Policy, PolicyProblem, parse_policy
from tests.agent.policies import IMAGE_ID, policy, toml

pytestmark = pytest.mark.unit

DISK = 64 * 20480
LARGE = Machine(cores=32, memory_mib=256 * 1024, disk_mib=DISK)


def made(**changes: Any) -> Policy:
    return parse_policy(toml(policy(**changes)).encode(), Path("agent.toml"))


def refused(machine: Machine, **changes: Any) -> str:
    with pytest.raises(PolicyProblem) as problem:
        places(made(**changes), machine)
    (sentence,) = str(problem.value).splitlines()
    return sentence


def test_as_many_as_fit() -> None:
    # 2 cores each: 16 of them. 8192 MiB each: 30, since a sixteenth is not given away.
    assert places(made(), LARGE) == 16
    assert places(made(limits__cores=0.5), LARGE) == 30
    assert places(made(limits__cores=0.1, limits__memory_mib=64), LARGE) == MOST_SLOTS
    assert places(made(limits__cores=0.1, limits__memory_mib=64), Machine(1, 4096, DISK)) == 10


def test_one_job_that_just_fits() -> None:
    assert places(made(), Machine(cores=2, memory_mib=9216, disk_mib=DISK)) == 1
    assert "limits.memory_mib" in refused(Machine(cores=2, memory_mib=9215, disk_mib=DISK))
    assert "limits.cores" in refused(Machine(cores=1, memory_mib=65536, disk_mib=DISK))


def test_the_site_says_what_it_gives() -> None:
    assert places(made(host__cores=8.0, host__memory_mib=20000), LARGE) == 2
    assert places(made(host__cores=8.0), LARGE) == 4
    # Cores can be shared; memory cannot.
    assert places(made(host__cores=64.0, host__memory_mib=256 * 1024), LARGE) == 32
    assert "host.memory_mib" in refused(LARGE, host__memory_mib=256 * 1024 + 1)


def test_a_number_that_does_not_fit_names_the_settings() -> None:
    assert places(made(limits__slots=16), LARGE) == 16
    assert places(made(limits__slots=3), LARGE) == 3
    said = refused(LARGE, limits__slots=17)
    for setting in ("limits.slots", "limits.cores", "limits.memory_mib", "host.cores", "host.memory_mib"):
        assert setting in said
    assert "at most 16" in said


def test_each_job_has_its_disk() -> None:
    # Three disks of 20480 MiB fit, whatever cores and memory say.
    small = replace(LARGE, disk_mib=4 * 20480 - 1)
    assert places(made(), small) == 3
    assert places(made(limits__slots=3), small) == 3
    assert places(made(limits__disk_mib=4096), small) == 16
    for said in (refused(small, limits__slots=4), refused(replace(LARGE, disk_mib=20479))):
        for what in ("limits.disk_mib", "folders.cache", "20480 MiB", "free some space"):
            assert what in said


def test_a_disk_that_is_in_use_takes_no_room_from_itself(tmp_path: Path) -> None:
    before = this_machine(tmp_path).disk_mib
    attempt = tmp_path / "work" / "attempts" / "jr-a-1"
    attempt.mkdir(parents=True)
    with (attempt / "disk.img").open("wb") as disk:
        disk.truncate(2**30)
        os.posix_fallocate(disk.fileno(), 0, 512 * 2**20)
        # Others write to this file system too.
        assert abs(this_machine(tmp_path).disk_mib - before) < 256


def test_database_places_are_some_of_all_places() -> None:
    database = {"dataset": "d", "kind": "sqlite", "file": "x", "public": True, "images": {IMAGE_ID: "any"}}
    assert places(made(database=database | {"slots": 16}), LARGE) == 16
    assert "database.slots" in refused(LARGE, database=database | {"slots": 17})


def test_this_machine_has_something(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "not-there-yet")
    assert found.cores >= 1
    assert found.memory_mib > 100
    assert found.disk_mib > 100


@given(
    cores=st.integers(1, 512),
    memory=st.integers(64, 2**22),
    disk=st.integers(0, 2**22),
    share=st.floats(0.01, 1024),
    memory_share=st.integers(16, 2**20),
    disk_share=st.integers(1024, 2**20),
    slots=st.none() | st.integers(1, MOST_SLOTS),
)
def test_what_runs_at_once_always_fits(
    cores: int,
    memory: int,
    disk: int,
    share: float,
    memory_share: int,
    disk_share: int,
    slots: int | None,
) -> None:
    wanted = made(
        limits__cores=share,
        limits__memory_mib=memory_share,
        limits__disk_mib=disk_share,
        limits__slots=slots,
    )
    try:
        found = places(wanted, Machine(cores, memory, disk))
    except PolicyProblem:
        return
    assert 1 <= found <= MOST_SLOTS
    assert found * share <= cores * (1 + 1e-6)
    assert found * memory_share <= memory - 1024
    assert found * disk_share <= disk
    if slots is not None:
        assert found == slots
    elif found < MOST_SLOTS:
        reserve = max(1024, memory // 16)
        more = found + 1
        assert more * share > cores or more * memory_share > memory - reserve or more * disk_share > disk
