"""Attacks of study code that eat the host (threats.md section 8, row S04), each with a twin that may.

The twin is the same canary without the wall under test. It shows that the probe works.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import KIB, MIB, ActionRun
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures.canary_runs import SMALL, run_to_end, run_weakened

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]


def test_S04_fork_bomb_is_contained(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("forks", "2000"))
    assert ended.json["made"] < SMALL.pids
    assert ended.json["error"] == "EAGAIN"
    assert ended.exit.status == 3


def test_S04_thread_bomb_is_contained(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("threads", "2000"))
    assert ended.json["made"] < SMALL.pids
    assert ended.json["error"] == "EAGAIN"


@pytest.mark.parametrize("kind", ["forks", "threads"])
def test_S04_twin_more_processes_with_a_higher_limit(
    executor: DockerExecutor, canary: Canary, kind: str
) -> None:
    ended = run_to_end(executor, canary(kind, "300", limits=replace(SMALL, pids=400)))
    assert (ended.exit.status, ended.json["made"]) == (0, 300)


def test_S04_memory_is_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("memory", "600"))
    assert ended.exit.out_of_memory
    assert ended.exit.status == 128 + signal.SIGKILL


def test_S04_memory_limit_leaves_no_swap(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    run = canary("sleep", "30")
    executor.prepare(run)
    executor.start(run)
    host = engine.inspect_container(run.name)["HostConfig"]
    assert host["MemorySwap"] == host["Memory"] == SMALL.memory


def test_S04_twin_the_same_memory_with_a_higher_limit(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("memory", "600", limits=replace(SMALL, memory=1024 * MIB)))
    assert (ended.exit.status, ended.exit.out_of_memory) == (0, False)
    assert ended.json["mib"] == 600


def test_S04_disk_is_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("fill", "/workspace/big", "300"))
    assert ended.json["error"] == "ENOSPC"
    assert ended.json["bytes"] < SMALL.disk
    assert ended.exit.out_of_disk


def test_S04_inodes_are_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("files", "/workspace", "20000"))
    assert ended.json["error"] == "ENOSPC"
    assert ended.json["made"] < 1.2 * SMALL.inodes
    assert ended.exit.out_of_disk


@pytest.mark.parametrize("words", [("fill", "/workspace/big", "300"), ("files", "/workspace", "20000")])
def test_S04_twin_a_larger_disk_takes_it(
    executor: DockerExecutor, canary: Canary, words: tuple[str, ...]
) -> None:
    ended = run_to_end(executor, canary(*words, limits=replace(SMALL, disk=512 * MIB, inodes=40_000)))
    assert (ended.exit.status, ended.exit.out_of_disk) == (0, False)


def test_S04_a_file_of_a_terabyte_is_refused(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("sparse", "/workspace/huge"))
    assert ended.json == {"truncate": "EFBIG", "write_far": "EFBIG"}


def test_S04_twin_a_sparse_terabyte_without_the_limit(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ended = run_weakened(engine, executor, canary("sparse", "/workspace/huge"), {"Ulimits": None})
    assert ended.json == {"truncate": "ok", "write_far": "ok"}


@pytest.mark.parametrize(("path", "limit"), [("/dev/shm/big", SMALL.shm), ("/tmp/big", SMALL.tmp)])
def test_S04_memory_filesystems_are_limited(
    executor: DockerExecutor, canary: Canary, path: str, limit: int
) -> None:
    ended = run_to_end(executor, canary("fill", path, "64"))
    assert ended.json == {"bytes": limit, "error": "ENOSPC"}


@pytest.mark.parametrize("path", ["/dev/shm/big", "/tmp/big"])
def test_S04_twin_larger_memory_filesystems_take_it(
    executor: DockerExecutor, canary: Canary, path: str
) -> None:
    limits = replace(SMALL, shm=80 * MIB, tmp=80 * MIB)
    assert run_to_end(executor, canary("fill", path, "64", limits=limits)).exit.status == 0


def test_S04_files_in_tmp_are_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("files", "/tmp", "2000"))
    assert ended.json["error"] == "ENOSPC"
    assert ended.json["made"] < SMALL.tmp_inodes


def test_S04_twin_more_files_in_tmp(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("files", "/tmp", "2000", limits=replace(SMALL, tmp_inodes=4_000)))
    assert ended.json["made"] == 2000


def test_S04_open_files_are_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("descriptors", "9000"))
    assert ended.json["error"] == "EMFILE"
    assert ended.json["made"] < SMALL.open_files


def test_S04_twin_more_open_files(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("descriptors", "500", limits=replace(SMALL, open_files=600)))
    assert ended.exit.status == 0


def test_S04_message_queues_are_off(executor: DockerExecutor, canary: Canary) -> None:
    assert run_to_end(executor, canary("queues")).json == {"open": "EMFILE"}


def test_S04_twin_message_queues_without_the_limit(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ended = run_weakened(engine, executor, canary("queues"), {"Ulimits": None})
    assert ended.json == {"open": "ok"}


def test_S04_kernel_limits_are_hard(executor: DockerExecutor, canary: Canary) -> None:
    seen = run_to_end(executor, canary("snapshot")).json
    assert {name: seen[name] for name in ("nofile", "core", "fsize", "memlock", "msgqueue")} == {
        "nofile": SMALL.open_files,
        "core": 0,
        "fsize": SMALL.file_size,
        "memlock": 64 * KIB,
        "msgqueue": 0,
    }


def test_S04_twin_a_soft_limit_is_not_the_hard_one(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ulimits = [{"Name": "nofile", "Soft": 128, "Hard": 512}]
    assert run_weakened(engine, executor, canary("snapshot"), {"Ulimits": ulimits}).json["nofile"] == 512


def core_file_is_left(executor: DockerExecutor, run: ActionRun) -> bool:
    with executor.open_outputs(run) as folder:
        return any(name.startswith("core") for name in os.listdir(folder))  # noqa: PTH208


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/core_pattern").read_text().startswith("core"),
    reason="this host pipes core files to a program of its own",
)
def test_S04_no_core_file_and_twin(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    run, twin = canary("core"), canary("core")
    assert run_to_end(executor, run).exit.status == 128 + signal.SIGABRT
    assert not core_file_is_left(executor, run)
    run_weakened(engine, executor, twin, {"Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}]})
    assert core_file_is_left(executor, twin)


def test_S04_processor_time_is_limited(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("spin", "2", limits=replace(SMALL, nano_cpus=100_000_000)))
    assert ended.json["cpu_ms"] < 0.2 * ended.json["wall_ms"]
    assert ended.json["throttled"] > 0


def test_S04_twin_more_processor_time(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    ended = run_weakened(engine, executor, canary("spin", "2"), {"NanoCpus": None})
    # How much it got depends on what else runs here; that nothing held it back does not.
    assert ended.json["throttled"] == 0
    assert ended.json["cpu_ms"] > 0


@pytest.mark.parametrize("kind", ["lines", "line"])
def test_S04_a_flood_of_log_keeps_only_its_end(
    executor: DockerExecutor, canary: Canary, engine: Any, kind: str
) -> None:
    run = canary(kind, "30")
    ended = run_to_end(executor, run)
    assert ended.exit.status == 0
    assert ended.log.rstrip(b"\n").endswith(b"THE-END")
    assert SMALL.log_bytes // 4 < len(ended.log) <= SMALL.log_bytes
    container = engine.inspect_container(run.name)["Id"]
    kept = Path(engine.info()["DockerRootDir"], "containers", container, "local-logs")
    assert sum(file.stat().st_size for file in kept.iterdir()) < SMALL.log_bytes + 256 * KIB


def test_S04_twin_the_whole_log_without_the_limit(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    log = {"Type": "local", "Config": {"max-size": "100m", "max-file": "2", "compress": "false"}}
    ended = run_weakened(engine, executor, canary("lines", "10"), {"LogConfig": log})
    assert len(ended.log) == 10 * MIB + len(b"THE-END\n")


def test_S04_a_run_past_its_time_ends(executor: DockerExecutor, canary: Canary) -> None:
    began = time.monotonic()
    ended = run_to_end(executor, canary("sleep", "50", limits=replace(SMALL, wall_clock_s=1)))
    assert ended.exit.out_of_time
    assert not ended.exit.out_of_memory
    assert time.monotonic() - began < 15


def test_S04_twin_a_run_within_its_time(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("sleep", "1"))
    assert (ended.exit.status, ended.exit.out_of_time) == (0, False)
    assert ended.exit.finished - ended.exit.started in (1, 2)
