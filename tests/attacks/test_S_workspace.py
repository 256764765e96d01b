"""Attacks on the files of others and on what is left behind (threats.md section 8, rows S07, S15, S17)."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors import mounts
from jobrunner.executors.base import ActionRun
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures import mountinfo
from tests.fixtures.canary_runs import AGENT, job_id, run_to_end, run_weakened

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]


def test_S07_attempts_do_not_see_each_other(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    places = ("/workspace/secret", "/tmp/secret", "/dev/shm/secret")
    first = canary("hold", *places)
    executor.prepare(first)
    executor.start(first)
    second = canary("show", *places)
    assert run_to_end(executor, second).json == dict.fromkeys(places, "ENOENT")
    assert first.uid != second.uid
    neighbour = engine.inspect_container(first.name)["State"]["Pid"]
    assert run_to_end(executor, canary("kill", str(neighbour))).json == {"kill": "ESRCH"}

    # The twin gets the first one's folder.
    [of_first] = engine.inspect_container(first.name)["Mounts"]
    mount = {"Type": "bind", "Source": of_first["Source"], "Target": "/workspace"}
    twin = run_weakened(engine, executor, canary("show", places[0]), {"Mounts": [mount]}, User="0:0")
    assert twin.json == {places[0]: "secret"}


def counters_of(disk: Path) -> list[str]:
    """Where the kernel tells about the loop device below a mounted disk; the first names its file."""
    number = disk.stat().st_dev
    [name] = [line.split()[3] for line in Path("/proc/partitions").read_text().splitlines()
              if line.split()[:2] == [str(os.major(number)), str(os.minor(number))]]  # fmt: skip
    return [
        f"/sys/block/{name}/loop/backing_file",
        f"/sys/block/{name}/stat",
        f"/sys/class/block/{name}/stat",
        f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat",
        f"/sys/devices/virtual/block/{name}/stat",
        f"/sys/fs/ext4/{name}/session_write_kbytes",
        f"/proc/fs/ext4/{name}/es_shrinker_info",
        "/proc/diskstats",
        "/proc/partitions",
    ]


def test_S07_a_job_reads_nothing_of_the_disk_of_another_and_twin(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    first = canary("sleep", "30")
    executor.prepare(first)
    executor.start(first)
    [of_first] = engine.inspect_container(first.name)["Mounts"]
    places = counters_of(Path(of_first["Source"]).parent / "disk")
    closed = run_to_end(executor, canary("show", *places)).json
    assert {said or "ENOENT" for said in closed.values()} == {"ENOENT"}
    assert set(closed) == set(places)

    seen = run_weakened(engine, executor, canary("show", *places), {"MaskedPaths": None}).json
    assert first.name in seen[places[0]]
    assert [place for place in places if seen[place] in ("", "ENOENT")] == []


# Files that count what anybody on the host does; a kernel may lack the second kind.
LOAD = (
    "/proc/buddyinfo", "/proc/interrupts", "/proc/key-users", "/proc/softirqs", "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr", "/proc/sys/kernel/pty/nr", "/proc/vmstat", "/proc/zoneinfo",
    "/sys/kernel/uevent_seqnum",
)  # fmt: skip
LOAD_OF_SOME = ("/proc/pressure/cpu", "/proc/schedstat", "/sys/module/overlay/refcnt", "/proc/locks")


def test_S06_what_everybody_on_the_host_does_is_not_counted_for_a_job_and_twin(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    closed = run_to_end(executor, canary("show", *LOAD, *LOAD_OF_SOME)).json
    assert {said or "ENOENT" for said in closed.values()} == {"ENOENT"}
    seen = run_weakened(engine, executor, canary("show", *LOAD), {"MaskedPaths": []}).json
    assert [place for place in LOAD if seen[place] in ("", "ENOENT")] == []


def test_S07_the_workspace_holds_nothing_of_the_image(executor: DockerExecutor, canary: Canary) -> None:
    seen = run_to_end(executor, canary("show", "/workspace/of-the-image")).json
    assert seen == {"/workspace/of-the-image": "ENOENT"}


def test_S07_twin_a_plain_volume_gets_the_files_of_the_image(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    run = canary("show", "/workspace/of-the-image")
    mount = {"Type": "volume", "Source": run.name, "Target": "/workspace"}
    ended = run_weakened(engine, executor, run, {"Mounts": [mount]})
    executor.clean_up(run)
    engine.remove_volume(run.name)
    assert ended.json == {"/workspace/of-the-image": "root:x:0:0:root:/:/canary\n"}


def tree_state(*roots: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for root in roots
        for path in sorted(root.rglob("*"))
    }


def study(tmp_path: Path) -> tuple[Path, Path]:
    """A tree of the study and a view of inputs, with the modes that the agent gives them."""
    tree, inputs = tmp_path / "study", tmp_path / "inputs"
    for folder in (tree, tree / "analysis", inputs, inputs / "output"):
        folder.mkdir()
        folder.chmod(0o777)
    for path, mode in (
        (tree / "analysis" / "a.py", 0o666),
        (tree / "b.sh", 0o777),
        (inputs / "output" / "rows.csv", 0o444),
        (inputs / "output" / "more.csv", 0o444),
    ):
        path.write_text("original")
        path.chmod(mode)
    return tree, inputs


STUDY_FILES = ("analysis/a.py", "b.sh", "output/rows.csv", "output/more.csv")


def test_S15_originals_stay_as_they_were(executor: DockerExecutor, canary: Canary, tmp_path: Path) -> None:
    tree, inputs = study(tmp_path)
    before = tree_state(tree, inputs)
    run = canary("tamper", *STUDY_FILES, tree=tree, inputs=inputs)
    assert run_to_end(executor, run).json == dict.fromkeys(STUDY_FILES, "ok")
    assert tree_state(tree, inputs) == before
    with executor.open_outputs(run) as folder:
        changed = os.open("analysis/a.py", os.O_RDONLY, dir_fd=folder)
        assert os.read(changed, 20) == b"tampered"
        os.close(changed)
    executor.clean_up(run)
    assert tree_state(tree, inputs) == before


def test_S15_twin_a_writable_bind_loses_them(
    executor: DockerExecutor, canary: Canary, engine: Any, tmp_path: Path
) -> None:
    tree, _ = study(tmp_path)
    mount = {"Type": "bind", "Source": str(tree), "Target": "/workspace"}
    run_weakened(engine, executor, canary("tamper", "analysis/a.py"), {"Mounts": [mount]})
    assert (tree / "analysis" / "a.py").read_text() == "tampered"


def leftovers(engine: Any, work: Path, run: ActionRun) -> list[str]:
    """What is still there of an attempt: container, mounts, loop devices, files."""
    found = [str(one["Names"]) for one in engine.containers(all=True, filters={"name": run.name})]
    found += [mount.point for mount in mountinfo.mounts() if run.name in f"{mount.point}{mount.options}"]
    found += [str(path) for path in work.rglob(f"*{run.name}*")]
    disk = work / "attempts" / run.name / "disk.img"
    return found + ([f"loop device of {disk}"] if mounts.is_attached(disk) else [])


KILLED_AGENT = """
import os, pathlib, signal, sys
from jobrunner.executors.base import ActionRun, Limits
from jobrunner.executors.docker import DockerExecutor
work, name, image, tree, uid, agent = sys.argv[1:]
run = ActionRun(agent_id=agent, job_id=name, attempt=1, image_id=image, entrypoint=("/canary",),
    argv=("sleep", "50"), uid=int(uid), gid=int(uid), tree=pathlib.Path(tree),
    limits=Limits(disk=64 << 20, inodes=2000, memory=256 << 20))
executor = DockerExecutor(pathlib.Path(work))
executor.prepare(run)
executor.start(run)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_S17_what_a_killed_agent_left_is_swept(
    executor: DockerExecutor, canary: Canary, engine: Any, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    left = canary("sleep", "50")
    words = [str(work), left.job_id, left.image_id, str(left.tree), str(left.uid), AGENT]
    killed = subprocess.run([sys.executable, "-c", KILLED_AGENT, *words], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = canary("sleep", "50")
    executor.prepare(kept)
    executor.start(kept)
    other = canary("sleep", "50", agent_id="another-agent")
    others = DockerExecutor(tmp_path / "other-work")
    others.prepare(other)
    others.start(other)
    try:
        assert {found.name for found in executor.find(AGENT) if found.running} == {left.name, kept.name}
        assert executor.sweep(AGENT, keep=[kept.name]) == [left.name]
        assert leftovers(engine, work, left) == []
        assert [found.name for found in executor.find(AGENT)] == [kept.name]
        assert [found.name for found in executor.find("another-agent")] == [other.name]
        assert mounts.is_mounted(work / "attempts" / kept.name / "disk")
        assert executor.sweep(AGENT, keep=[kept.name]) == []
    finally:
        others.clean_up(other)
        others.close()
    executor.clean_up(kept)
    assert leftovers(engine, work, kept) == []


def test_S17_a_new_agent_finds_the_run_again(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    run = canary("sleep", "2", job_id=job_id())
    executor.prepare(run)
    executor.start(run)
    after_restart = DockerExecutor(tmp_path / "work")
    after_restart.prepare(run)
    after_restart.start(run)
    assert after_restart.wait(run).status == 0
    after_restart.close()
