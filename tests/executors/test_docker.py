"""The executor with a real engine: the contract of base.Executor, and every call made twice."""

import io
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors import mounts, workspace
from jobrunner.executors.base import MIB, ActionRun, ContainerLost, EngineError, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from jobrunner.executors.workspace import Workspace
from tests.fixtures import mountinfo
from tests.fixtures.canary_runs import AGENT, SMALL, finish, run_to_end

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]


def test_a_run_reads_its_tree_and_its_outputs_are_what_it_wrote(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "rows.csv").write_text("from an input")
    (inputs / "both.txt").write_text("the input wins")
    (tmp_path / "tree" / "both.txt").write_text("the tree loses")
    (tmp_path / "tree" / "only.txt").write_text("from the tree")
    paths = [f"/workspace/{name}" for name in ("rows.csv", "both.txt", "only.txt")]
    shown = run_to_end(executor, canary("show", *paths, inputs=inputs)).json
    assert list(shown.values()) == ["from an input", "the input wins", "from the tree"]

    run = canary("put", "output/deep/a.txt", "written", folders=("output/deep",), inputs=inputs)
    assert run_to_end(executor, run).exit.status == 0
    with executor.open_outputs(run) as folder:
        assert os.listdir(folder) == ["output"]  # noqa: PTH208
        written = os.stat("output/deep/a.txt", dir_fd=folder)
        assert (written.st_uid, written.st_gid, written.st_size) == (run.uid, run.gid, 7)
        assert os.stat("output/deep", dir_fd=folder).st_uid == run.uid
        with pytest.raises(OSError, match="Read-only"):
            os.open("more", os.O_WRONLY | os.O_CREAT, dir_fd=folder)


def test_without_the_folder_the_write_fails(executor: DockerExecutor, canary: Canary) -> None:
    assert run_to_end(executor, canary("put", "output/deep/a.txt", "x")).json == {"write": "ENOENT"}


@pytest.mark.parametrize("status", [0, 1, 139, 255])
def test_the_exit_status_arrives(executor: DockerExecutor, canary: Canary, status: int) -> None:
    ended = run_to_end(executor, canary("exit", str(status))).exit
    assert ended.status == status
    assert [ended.out_of_memory, ended.out_of_time, ended.out_of_disk] == [False, False, False]
    assert 0 <= time.time() - ended.started < 60


def test_a_program_that_is_not_there_ends_with_127(executor: DockerExecutor, canary: Canary) -> None:
    assert run_to_end(executor, canary("x", entrypoint=("/nothing",))).exit.status == 127


def test_J03_arguments_arrive_byte_for_byte(executor: DockerExecutor, canary: Canary) -> None:
    words = ("$(id)", "a b", "--", "-rf", "new\nline", "'\"", "*", "`x`", "")
    assert list(run_to_end(executor, canary("words", *words)).json.values()) == list(words)


def test_every_call_may_be_made_twice(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    run = canary("put", "/workspace/a", "x")
    for _ in range(2):
        executor.prepare(run)
    executor.start(run)
    first = executor.wait(run)
    container = engine.inspect_container(run.name)["Id"]
    executor.prepare(run)
    executor.start(run)
    assert engine.inspect_container(run.name)["Id"] == container
    assert executor.wait(run) == first
    for _ in range(2):
        executor.stop(run)
        with executor.open_outputs(run) as folder:
            assert os.listdir(folder) == ["a"]  # noqa: PTH208
    for _ in range(2):
        executor.clean_up(run)
    assert executor.find(AGENT) == []
    assert run_to_end(executor, run).exit.status == 0


def test_after_a_restart_a_container_that_was_never_started_is_made_again(
    executor: DockerExecutor, canary: Canary, engine: Any, tmp_path: Path
) -> None:
    run = canary("words", "ours")
    executor.prepare(run)
    engine.remove_container(run.name)
    labels = {"Image": run.image_id, "Labels": run.labels, "Cmd": ["/canary", "words", "other"]}
    engine.create_container_from_config(labels, run.name)
    with pytest.raises(ContainerLost):
        executor.wait(run)
    restarted = DockerExecutor(tmp_path / "work")
    restarted.start(run)
    assert finish(restarted, run).json == {"0": "ours"}
    restarted.close()


def test_a_container_that_was_put_in_the_place_of_ours_does_not_start(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    run = canary("exit", "0")
    executor.prepare(run)
    engine.remove_container(run.name)
    engine.create_container_from_config(
        {"Image": run.image_id, "Labels": run.labels, "Cmd": ["/canary", "exit", "0"]}, run.name
    )
    with pytest.raises(EngineError):
        executor.start(run)
    assert engine.inspect_container(run.name)["State"]["Status"] == "created"


def test_a_container_of_somebody_else_is_in_the_way(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    run = canary("exit", "0")
    engine.create_container_from_config({"Image": run.image_id, "Cmd": ["/canary"]}, run.name)
    try:
        with pytest.raises(SandboxRefused) as refused:
            executor.prepare(run)
        assert refused.value.detail == "sandbox"
    finally:
        engine.remove_container(run.name)


def test_nothing_starts_on_a_workspace_that_is_not_mounted(
    executor: DockerExecutor, canary: Canary, engine: Any, tmp_path: Path
) -> None:
    run = canary("put", "/workspace/a", "x")
    executor.prepare(run)
    mounts.unmount(Workspace(tmp_path / "work", run.name).seen)
    with pytest.raises(EngineError, match="not prepared"):
        executor.start(run)
    assert engine.inspect_container(run.name)["State"]["Status"] == "created"


def test_start_needs_prepare(executor: DockerExecutor, canary: Canary) -> None:
    with pytest.raises(EngineError, match="not prepared"):
        executor.start(canary("exit", "0"))


def test_nothing_to_wait_for(executor: DockerExecutor, canary: Canary) -> None:
    with pytest.raises(ContainerLost):
        executor.wait(canary("exit", "0"))


def test_an_unknown_runtime_is_refused(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("exit", "0", runtime="no-such-runtime")
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "runtime"


def test_no_engine_is_an_engine_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        DockerExecutor(tmp_path / "work", engine_url="http://127.0.0.1:9")


def test_a_deadline_from_the_agent_counts(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("sleep", "50")
    executor.prepare(run)
    executor.start(run)
    began = time.monotonic()
    ended = executor.wait(run, deadline_s=0.5)
    assert ended.out_of_time
    assert time.monotonic() - began < 10
    assert executor.wait(run, deadline_s=100).out_of_time, "the fact outlives the call"


def test_S16_the_limit_counts_from_the_start_and_not_from_the_call(
    executor: DockerExecutor, canary: Canary
) -> None:
    run = canary("sleep", "50", limits=replace(SMALL, wall_clock_s=2))
    executor.prepare(run)
    executor.start(run)
    time.sleep(2)
    began = time.monotonic()
    assert executor.wait(run).out_of_time
    assert time.monotonic() - began < 1.5


def test_stop_from_another_thread_ends_the_wait(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("sleep", "50")
    executor.prepare(run)
    executor.start(run)
    stopper = threading.Timer(0.3, executor.stop, [run])
    stopper.start()
    ended = executor.wait(run)
    stopper.join()
    assert (ended.status, ended.out_of_time) == (143, False)


@pytest.mark.parametrize("limit", [1, 100, 65536, 20 * MIB])
def test_the_end_of_the_log_is_kept(executor: DockerExecutor, canary: Canary, limit: int) -> None:
    run = canary("lines", "1")
    whole = run_to_end(executor, run).log
    assert len(whole) == MIB + len(b"THE-END\n")
    kept = io.BytesIO()
    executor.save_log(run, kept, limit)
    assert kept.getvalue() == whole[-limit:]


def test_the_log_goes_to_a_descriptor_and_holds_stderr(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    run = canary("no-such-attack")
    run_to_end(executor, run)
    with (tmp_path / "log").open("wb") as file:
        executor.save_log(run, file.fileno())
        assert not file.closed
    assert (tmp_path / "log").read_bytes() == b"canary: unknown attack\n"


def test_a_child_killed_for_memory_is_not_the_end_of_the_job(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    run = canary("memory-of-a-child", "600")
    ended = run_to_end(executor, run)
    assert ended.json == {"signal": 9}
    assert engine.inspect_container(run.name)["State"]["OOMKilled"], "the engine's flag is set all the same"
    assert (ended.exit.status, ended.exit.out_of_memory) == (0, False)


@pytest.mark.parametrize("crash", ["claimed", "image", "mounted", "layers", "no_container"])
def test_prepare_goes_on_after_a_kill(
    executor: DockerExecutor, canary: Canary, engine: Any, tmp_path: Path, crash: str
) -> None:
    run = canary("put", "output/a", "x", folders=("output",))
    space = Workspace(tmp_path / "work", run.name)
    workspace.claim_uid(space, run)
    if crash != "claimed":
        executor.prepare(run)
    if crash == "no_container":
        engine.remove_container(run.name)
    if crash in ("image", "mounted", "layers"):
        mounts.unmount(space.seen)
        space.ready.unlink()
    if crash == "mounted":
        (space.upper / "output").rmdir()
        space.upper.rmdir()
        shutil.rmtree(space.scratch)
    if crash == "image":
        mounts.unmount(space.disk)
        space.disk.rmdir()
    executor.prepare(run)
    for point in (space.disk, space.seen):
        assert len([mount for mount in mountinfo.mounts() if mount.point == str(point)]) == 1
    executor.start(run)
    assert executor.wait(run).status == 0


def test_what_the_job_wrote_is_never_prepared_again(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    run = canary("exit", "0", folders=("output",))
    executor.prepare(run)
    space = Workspace(tmp_path / "work", run.name)
    (space.upper / "output").rmdir()
    (space.upper / "output").symlink_to("/etc")
    executor.prepare(run)
    assert (space.upper / "output").is_symlink()
    assert Path("/etc").stat().st_uid == 0


def test_a_disk_in_use_elsewhere_is_not_mounted_again(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    run = canary("exit", "0")
    executor.prepare(run)
    space = Workspace(tmp_path / "work", run.name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mounts.unmount(space.disk)
    mounts.mount_image(space.image, elsewhere)
    try:
        with pytest.raises(SandboxRefused):
            executor.prepare(run)
    finally:
        mounts.unmount(elsewhere)


def test_outputs_are_there_after_the_mount_is_lost(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    run = canary("put", "/workspace/a", "x")
    run_to_end(executor, run)
    mounts.unmount(tmp_path / "work" / "attempts" / run.name / "disk")
    with executor.open_outputs(run) as folder:
        assert os.listdir(folder) == ["a"]  # noqa: PTH208


def test_disks_that_could_fill_the_host_are_refused(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    host = os.statvfs(tmp_path)
    free = host.f_bavail * host.f_frsize
    half = replace(SMALL, disk=free * 6 // 10 // MIB * MIB)
    executor.prepare(canary("exit", "0", limits=half))
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(canary("exit", "0", limits=half))
    assert refused.value.detail == "disk_low"


def test_a_work_folder_that_cannot_be_mounted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxRefused):
        DockerExecutor(tmp_path / "a,b")


def test_a_mount_of_the_file_system_around_is_unmounted_too(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    mounts._mount(str(here), there, "none", mounts.MS_BIND, "")
    mounts.unmount(there)
    assert str(there) not in {mount.point for mount in mountinfo.mounts()}
    for nothing in (there, tmp_path / "nowhere"):
        mounts.unmount(nothing)
