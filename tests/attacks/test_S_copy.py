"""The walls of the workspace form `copy` are those of the agent (threats.md section 8, rows S01 to S11).

The probes and their refusals are those of test_S_sandbox.py, where each has its twin.
"""

import io
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import JOB_UIDS, PROFILE, ActionRun, EngineError, SandboxRefused
from jobrunner.executors.docker_copy import CopyExecutor
from tests.attacks.test_S_read_back import ADDED, CONFIG_OPTIONS, HOST_OPTIONS
from tests.attacks.test_S_sandbox import (
    CAPABILITY_SETS,
    FORBIDDEN,
    bridge_address,
    listeners,
    status_field,
)
from tests.attacks.test_S_workspace import LOAD
from tests.fixtures.canary_runs import AGENT, SMALL, Ended, job_id
from tests.fixtures.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

UID = JOB_UIDS[-9]
Make = Callable[..., ActionRun]


@contextmanager
def opened(work: Path, url: str | None = None) -> Iterator[CopyExecutor]:
    executor = CopyExecutor(work, url)
    try:
        yield executor
    finally:
        executor.sweep(AGENT, keep=())
        executor.close()


@pytest.fixture
def copying(engine: Any, tmp_path: Path) -> Iterator[CopyExecutor]:
    del engine
    with opened(tmp_path / "work") as executor:
        yield executor


def a_run(executor: CopyExecutor, image: str, *words: str, **fields: Any) -> ActionRun:
    """A run of the canary in a folder of its own."""
    job = job_id()
    tree = executor.folder(f"jr-{job}-1")
    tree.mkdir(parents=True)
    os.chown(tree, UID, UID)
    given = {
        "agent_id": AGENT, "job_id": job, "attempt": 1, "image_id": image, "entrypoint": ("/canary",),
        "argv": words, "uid": UID, "gid": UID, "tree": tree, "limits": SMALL,
    }  # fmt: skip
    return ActionRun(**{**given, **fields})


@pytest.fixture
def canary(copying: CopyExecutor, canary_image: str) -> Make:
    return lambda *words, **fields: a_run(copying, canary_image, *words, **fields)


def to_end(executor: CopyExecutor, run: ActionRun) -> Ended:
    executor.prepare(run)
    executor.start(run)
    ended = executor.wait(run)
    log = io.BytesIO()
    executor.save_log(run, log)
    return Ended(ended, log.getvalue())


def test_S01_nothing_gets_out(copying: CopyExecutor, canary: Make, engine: Any) -> None:
    with listeners() as (port, name, heard):
        ended = to_end(copying, canary("network", bridge_address(engine), str(port), name))
    assert heard == []
    assert {way for way, outcome in ended.json.items() if outcome == "ok"} == set()


def test_S05_no_call_and_no_file_leads_out(copying: CopyExecutor, canary: Make) -> None:
    said = to_end(copying, canary("escape")).json
    refusals = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "EIO"}
    assert {probe: error for probe, error in said.items() if error not in refusals} == {}
    assert set(said) == set(FORBIDDEN)


def test_S05_setuid_gives_nothing(copying: CopyExecutor, canary: Make) -> None:
    assert to_end(copying, canary("snapshot", entrypoint=("/setuid-canary",))).json["euid"] == UID


def test_S06_the_job_sees_nothing_of_its_caller(
    copying: CopyExecutor, canary: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_TEST_TOKEN", "canary-token")
    ended = to_end(copying, canary("snapshot"))
    seen = ended.json
    assert (seen["uid"], seen["euid"], seen["gid"]) == (UID, UID, UID)
    assert [int(status_field(ended, name), 16) for name in CAPABILITY_SETS] == [0, 0, 0, 0, 0]
    assert status_field(ended, "NoNewPrivs") == "1"
    assert status_field(ended, "Seccomp") == "2"
    assert {entry.partition("=")[0] for entry in seen["environment"]} == set(PROFILE.environment)
    assert socket.gethostname() not in seen["hosts"].split()
    assert b"canary-token" not in ended.log
    lines = {line.split()[4]: line.split() for line in seen["mountinfo"].splitlines()}
    writable = {
        point
        for point, line in lines.items()
        if "rw" in line[5].split(",") and not point.startswith(("/proc", "/dev", "/sys"))
    }
    assert writable == {"/workspace", "/tmp"}
    assert lines["/"][5].split(",")[0] == "ro"


def test_S07_a_job_does_not_reach_the_folder_of_another(copying: CopyExecutor, canary: Make) -> None:
    first, second = canary("sleep", "30"), canary("show", "/workspace/secret")
    (first.tree / "secret").write_text("secret")
    copying.prepare(first)
    copying.start(first)
    assert to_end(copying, second).json == {"/workspace/secret": "ENOENT"}
    assert stat.S_IMODE(first.tree.parent.parent.stat().st_mode) == 0o700


def test_S07_a_job_sees_no_counter_of_this_machine(copying: CopyExecutor, canary: Make) -> None:
    # test_S_workspace.py has the twins.
    [disk, *_] = [line.split()[3] for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    places = (*LOAD, "/proc/diskstats", "/proc/partitions", f"/sys/block/{disk}/stat")
    closed = to_end(copying, canary("show", *places)).json
    assert {said or "ENOENT" for said in closed.values()} == {"ENOENT"}
    assert set(closed) == set(places)


def test_S08_a_deaf_job_is_dead_in_time(copying: CopyExecutor, canary: Make) -> None:
    run = canary("stubborn", "50")
    copying.prepare(run)
    copying.start(run)
    time.sleep(1.5)
    with pytest.raises(EngineError, match="still runs"), copying.open_outputs(run):
        pass
    began = time.monotonic()
    copying.stop(run)
    assert time.monotonic() - began < SMALL.stop_s + 5
    assert copying.wait(run).status == 128 + signal.SIGKILL


def test_S08_time_is_limited(copying: CopyExecutor, canary: Make) -> None:
    run = canary("sleep", "50", limits=replace(SMALL, wall_clock_s=1))
    ended = to_end(copying, run).exit
    assert ended.out_of_time


@pytest.mark.parametrize("uid", [0, 1000, 65534, 199_999, 200_256])
def test_S10_root_gives_a_run_no_user_that_is_anybody(copying: CopyExecutor, canary: Make, uid: int) -> None:
    run = replace(canary("exit", "0"), uid=uid, gid=uid)
    os.chown(run.tree, uid, uid)
    with pytest.raises(SandboxRefused) as refused:
        copying.prepare(run)
    assert refused.value.detail == "sandbox"


def test_S10_a_folder_of_somebody_else_is_refused(copying: CopyExecutor, canary: Make) -> None:
    run = canary("exit", "0")
    os.chown(run.tree, 0, 0)
    with pytest.raises(SandboxRefused, match="must belong to"):
        copying.prepare(run)


def test_S10_another_folder_than_its_own_is_refused(
    copying: CopyExecutor, canary: Make, tmp_path: Path
) -> None:
    run = canary("exit", "0")
    with pytest.raises(SandboxRefused, match="its own folder"):
        copying.prepare(replace(run, tree=tmp_path))
    run.tree.rmdir()
    run.tree.symlink_to(tmp_path)
    with pytest.raises(SandboxRefused, match="no folder"):
        copying.prepare(run)


def refused_before_start(proxy: EngineProxy, tmp_path: Path, image: str, engine: Any) -> None:
    with opened(tmp_path / "proxied", proxy.url) as executor:
        run = a_run(executor, image, "exit", "0")
        with pytest.raises(SandboxRefused) as refused:
            executor.prepare(run)
        assert refused.value.detail == "sandbox"
        assert not any(call.endswith("/start") for call in proxy.calls)
        assert engine.containers(all=True, filters={"name": run.name}) == []


@pytest.mark.parametrize("option", HOST_OPTIONS)
def test_S11_engine_that_drops_a_host_option(
    engine: Any, canary_image: str, tmp_path: Path, option: str
) -> None:
    with EngineProxy() as proxy:
        proxy.change_create = lambda body: body["HostConfig"].pop(option)
        refused_before_start(proxy, tmp_path, canary_image, engine)


@pytest.mark.parametrize("option", CONFIG_OPTIONS)
def test_S11_engine_that_drops_an_option(engine: Any, canary_image: str, tmp_path: Path, option: str) -> None:
    with EngineProxy() as proxy:
        proxy.change_create = lambda body: body.pop(option)
        refused_before_start(proxy, tmp_path, canary_image, engine)


WIDER: dict[str, Callable[[dict[str, Any]], object]] = {
    **{name: change for name, change in ADDED.items() if name != "second_mount"},
    "whole_disk": lambda body: body["HostConfig"]["Mounts"][0].update(Source="/"),
    "shared": lambda body: body["HostConfig"]["Mounts"][0].update(BindOptions={"Propagation": "rslave"}),
}


@pytest.mark.parametrize("added", WIDER)
def test_S11_engine_that_gives_more(engine: Any, canary_image: str, tmp_path: Path, added: str) -> None:
    with EngineProxy() as proxy:
        proxy.change_create = WIDER[added]
        refused_before_start(proxy, tmp_path, canary_image, engine)


@pytest.mark.parametrize("options", [[], ["name=seccomp,profile=unconfined"]])
def test_S11_engine_without_a_list_of_calls(engine: Any, tmp_path: Path, options: list[str]) -> None:
    del engine
    with EngineProxy() as proxy:
        proxy.change_answer["/info"] = lambda answer: answer.update(SecurityOptions=options)
        with pytest.raises(SandboxRefused):
            CopyExecutor(tmp_path / "work", proxy.url)


def test_S17_what_a_killed_run_left_is_swept(copying: CopyExecutor, canary: Make) -> None:
    left = canary("sleep", "50")
    copying.prepare(left)
    copying.start(left)
    closed = left.tree / "closed" / "below"
    closed.mkdir(parents=True)
    closed.chmod(0)
    (left.tree / "out").symlink_to("/")
    assert copying.sweep(AGENT, keep=()) == [left.name]
    assert copying.find(AGENT) == []
    assert not left.tree.parent.exists()


def test_S17_twin_a_work_folder_of_somebody_else_is_not_used(engine: Any, tmp_path: Path) -> None:
    del engine
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1000, 1000)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for work in (theirs, link, tmp_path / "a b"):
        with pytest.raises(SandboxRefused):
            CopyExecutor(work)
