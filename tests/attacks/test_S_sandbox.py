"""Attacks of study code on its sandbox (threats.md section 8, rows S01, S05, S06, S08, S10),
each with a twin that may.

The twin is the same canary without the wall under test. It shows that the probe works.
"""

import fcntl
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import ActionRun, EngineError, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures.canary_runs import AGENT, SMALL, Ended, finish, run_to_end, run_weakened

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]
SIOCGIFADDR = 0x8915


@contextmanager
def listeners() -> Iterator[tuple[int, str, list[str]]]:
    """A port for TCP and UDP on every address of the host, and an abstract socket; what they hear."""
    heard: list[str] = []
    name = f"jobrunner-test-{os.getpid()}-{time.monotonic_ns()}"
    with (
        socket.create_server(("0.0.0.0", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("0.0.0.0", port))
        abstract.bind(f"\0{name}")
        abstract.listen()

        def accept(server: socket.socket, what: str) -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                heard.append(what)
                with peer:
                    peer.settimeout(10)
                    peer.recv(64)  # else it could fail to send

        def receive() -> None:
            while udp.recvfrom(64)[0] != b"the test is over":
                heard.append("udp")

        threads = [
            threading.Thread(target=accept, args=(tcp, "tcp")),
            threading.Thread(target=receive),
            threading.Thread(target=accept, args=(abstract, "abstract")),
        ]
        for thread in threads:
            thread.start()
        try:
            yield port, name, heard
        finally:
            udp.sendto(b"the test is over", ("127.0.0.1", port))
            for server in (tcp, abstract):
                server.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


def bridge_address(engine: Any) -> str:
    """The host's own address on the engine's default network."""
    bridge = engine.inspect_network("bridge")["Options"]["com.docker.network.bridge.name"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", bridge.encode()))
    return socket.inet_ntoa(answer[20:24])


def status_field(ended: Ended, name: str) -> str:
    """One field of /proc/self/status as the job saw it."""
    lines = ended.json["status"].splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def test_S01_nothing_gets_out(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    with listeners() as (port, name, heard):
        ended = run_to_end(executor, canary("network", bridge_address(engine), str(port), name))
    assert heard == []
    assert {way for way, outcome in ended.json.items() if outcome == "ok"} == set()


def test_S01_twin_with_a_network_it_gets_out(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    with listeners() as (port, name, heard):
        ended = run_weakened(
            engine,
            executor,
            canary("network", bridge_address(engine), str(port), name),
            {"NetworkMode": "host", "CapDrop": None, "SecurityOpt": ["seccomp=unconfined"]},
            User="0:0",
        )
        assert ended.json["tcp"] == ended.json["udp"] == ended.json["abstract"] == "ok"
        assert ended.json["raw"] == ended.json["packet"] == "ok"
    assert {"tcp", "udp", "abstract"} <= set(heard)


def test_S01_only_the_loopback_interface_is_there(executor: DockerExecutor, canary: Canary) -> None:
    assert run_to_end(executor, canary("snapshot")).json["interfaces"].split() == ["lo"]


def test_S01_twin_a_bridge_shows_as_an_interface(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ended = run_weakened(engine, executor, canary("snapshot"), {"NetworkMode": "bridge"})
    assert "eth0" in ended.json["interfaces"].split()


FORBIDDEN = {
    "engine_socket": "ENOENT",
    "root_of_1": "ENOENT",
    "mount": "EPERM",
    "umount": "EPERM",
    "unshare_user": "EPERM",
    "unshare_mount": "EPERM",
    "setns": "EPERM",
    "chroot": "EPERM",
    "setuid": "EPERM",
    "setgid": "EPERM",
    "mknod": "EPERM",
    "keyctl": "EPERM",
    "add_key": "EPERM",
    "bpf": "EPERM",
    "userfaultfd": "EPERM",
    "perf": "EPERM",
    "reboot": "EPERM",
    "sethostname": "EPERM",
    "init_module": "EPERM",
    "open_by_handle": "EPERM",
    "settime": "EPERM",
    "core_pattern": "EACCES",
    "release_agent": "ENOENT",
    "sysrq": "ENOENT",
    "kmsg": "ENOENT",
    "mem": "ENOENT",
    "kcore": "ENOENT",
    "loop": "ENOENT",
    "open_folder": "EROFS",
    "root_folder": "EROFS",
    "resolv_conf": "EACCES",
    "hosts": "EACCES",
}
# What the twin may try without harm to the host. The second group changes what the first one tests.
HARMLESS = (
    ("mount", "unshare_mount", "setuid", "mknod", "add_key", "sethostname", "open_folder", "root_folder",
     "resolv_conf", "hosts"),
    ("unshare_user", "chroot"),
)  # fmt: skip


def test_S05_no_call_and_no_file_leads_out(executor: DockerExecutor, canary: Canary) -> None:
    said = run_to_end(executor, canary("escape")).json
    # The same wall may answer with another error on another host; it must never open.
    refusals = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "EIO"}
    assert {probe: error for probe, error in said.items() if error not in refusals} == {}
    assert set(said) == set(FORBIDDEN)


def test_S05_errors_of_the_default_runtime(executor: DockerExecutor, canary: Canary) -> None:
    said = run_to_end(
        executor, canary("escape", *(set(FORBIDDEN) - {"release_agent", "sysrq", "kcore"}))
    ).json
    assert said == {probe: FORBIDDEN[probe] for probe in said}


@pytest.mark.parametrize("probes", HARMLESS)
def test_S05_twin_the_same_calls_without_walls(
    executor: DockerExecutor, canary: Canary, engine: Any, probes: tuple[str, ...]
) -> None:
    open_walls = {
        "CapDrop": None,
        "CapAdd": ["SYS_ADMIN"],
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        "ReadonlyRootfs": False,
    }
    ended = run_weakened(engine, executor, canary("escape", *probes), open_walls, User="0:0")
    assert ended.json == dict.fromkeys(probes, "ok")


def test_S05_world_writable_folder_of_the_image_is_read_only(
    executor: DockerExecutor, canary: Canary
) -> None:
    assert run_to_end(executor, canary("put", "/open/planted", "x")).json == {"write": "EROFS"}


def test_S05_twin_the_folder_can_be_written_otherwise(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ended = run_weakened(engine, executor, canary("put", "/open/planted", "x"), {"ReadonlyRootfs": None})
    assert ended.json == {"write": "ok"}


def test_S05_setuid_program_of_the_image_gives_nothing(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("snapshot", entrypoint=("/setuid-canary",))
    assert run_to_end(executor, run).json["euid"] == run.uid


def test_S05_twin_setuid_works_where_privileges_may_grow(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    run = canary("snapshot", entrypoint=("/setuid-canary",))
    assert run_weakened(engine, executor, run, {"SecurityOpt": None}).json["euid"] == 0


def test_S06_the_job_sees_nothing_of_the_agent(
    executor: DockerExecutor, canary: Canary, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_TEST_TOKEN", "canary-token")
    run = canary("snapshot")
    ended = run_to_end(executor, run)
    seen = ended.json
    assert sorted(seen["environment"]) == [
        "HOME=/tmp",
        "HOSTNAME=job",
        "LANG=C.UTF-8",
        "OMP_NUM_THREADS=1",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR=/tmp",
        "TZ=UTC",
    ]
    assert seen["hostname"] == "job"
    assert seen["cwd"] == "/workspace"
    assert seen["resolv"].splitlines() == ["nameserver 192.0.2.1"]
    # A host without search domains would hide that this is missing.
    assert engine.inspect_container(run.name)["HostConfig"]["DnsSearch"] == ["."]
    assert socket.gethostname() not in seen["hosts"].split()
    assert seen["pids"].split()[0] == "1"
    assert len(seen["pids"].split()) == 2
    assert {line.rsplit(":", 1)[1] for line in seen["cgroup"].splitlines()} == {"/"}
    assert b"canary-token" not in ended.log


def test_S06_arguments_of_others_do_not_show_and_twin(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    other = canary("sleep", "30", "a-word-of-another-job")
    executor.prepare(other)
    executor.start(other)
    seen = run_to_end(executor, canary("arguments")).json["arguments"]
    assert "/canary arguments" in seen
    assert "a-word-of-another-job" not in seen
    twin = run_weakened(engine, executor, canary("arguments"), {"PidMode": "host"})
    assert "a-word-of-another-job" in twin.json["arguments"]


def test_S06_the_job_is_an_unknown_user(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("snapshot")
    ended = run_to_end(executor, run)
    seen = ended.json
    assert (seen["uid"], seen["euid"], seen["gid"]) == (run.uid, run.uid, run.gid)
    assert status_field(ended, "Groups").split() == [str(run.gid)]
    assert 0 not in (seen["uid"], seen["gid"])


def test_S06_twin_without_the_user_it_is_root(executor: DockerExecutor, canary: Canary, engine: Any) -> None:
    assert run_weakened(engine, executor, canary("snapshot"), {}, User="").json["uid"] == 0


CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def test_S06_the_job_has_no_capability(executor: DockerExecutor, canary: Canary) -> None:
    ended = run_to_end(executor, canary("snapshot"))
    assert [int(status_field(ended, name), 16) for name in CAPABILITY_SETS] == [0, 0, 0, 0, 0]
    assert status_field(ended, "NoNewPrivs") == "1"
    assert status_field(ended, "Seccomp") == "2"


def test_S06_twin_capabilities_without_the_drop(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    ended = run_weakened(
        engine, executor, canary("snapshot"), {"CapDrop": None, "SecurityOpt": ["seccomp=unconfined"]}
    )
    assert int(status_field(ended, "CapBnd"), 16) != 0
    assert status_field(ended, "NoNewPrivs") == "0"
    assert status_field(ended, "Seccomp") == "0"


def test_S06_mounts_show_only_the_attempt(executor: DockerExecutor, canary: Canary, tmp_path: Path) -> None:
    run = canary("snapshot")
    lines = [line.split() for line in run_to_end(executor, run).json["mountinfo"].splitlines()]
    by_point = {line[4]: line for line in lines}
    assert by_point["/"][5].split(",")[0] == "ro"
    assert {"rw", "nosuid", "nodev"} <= set(by_point["/workspace"][5].split(","))
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(by_point["/tmp"][5].split(","))
    writable = {
        point
        for point, line in by_point.items()
        if "rw" in line[5].split(",") and not point.startswith(("/proc", "/dev", "/sys"))
    }
    assert writable == {"/workspace", "/tmp"}
    shown = " ".join(by_point["/workspace"])
    assert run.name in shown
    assert run.agent_id not in shown.replace(str(tmp_path), "")


def test_S08_a_deaf_job_is_dead_in_time(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("stubborn", "50")
    executor.prepare(run)
    executor.start(run)
    time.sleep(1.5)
    with pytest.raises(EngineError, match="still runs"):
        executor.open_outputs(run)
    began = time.monotonic()
    executor.stop(run)
    assert time.monotonic() - began < SMALL.stop_s + 5
    ended = finish(executor, run)
    assert ended.exit.status == 128 + signal.SIGKILL
    assert ended.json == {"state": "deaf"}
    with executor.open_outputs(run) as folder:
        size = os.stat("alive", dir_fd=folder).st_size
        time.sleep(1.5)
        assert os.stat("alive", dir_fd=folder).st_size == size > 0


def test_S08_what_a_job_leaves_behind_ends_with_it(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("leave", "50")
    ended = run_to_end(executor, run)
    assert (ended.exit.status, ended.json) == (0, {"state": "left"})
    assert ended.exit.finished - ended.exit.started < 15
    with executor.open_outputs(run) as folder:
        size = os.stat("alive", dir_fd=folder).st_size
        time.sleep(1.0)
        assert os.stat("alive", dir_fd=folder).st_size == size > 0


def test_S08_twin_a_polite_job_ends_at_once(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("sleep", "50")
    executor.prepare(run)
    executor.start(run)
    began = time.monotonic()
    executor.stop(run)
    assert time.monotonic() - began < SMALL.stop_s
    assert executor.wait(run).status == 128 + signal.SIGTERM
    executor.stop(run)


@pytest.mark.parametrize("uid", [0, os.getuid(), 1000, 65534, 199_999, 200_256])
def test_S10_uids_outside_the_pool_are_refused(executor: DockerExecutor, canary: Canary, uid: int) -> None:
    run = replace(canary("exit", "0"), uid=uid, gid=uid)
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "sandbox"


def test_S10_one_uid_for_two_attempts_is_refused(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    first, second = canary("sleep", "30"), canary("exit", "0")
    second = replace(second, uid=first.uid, gid=first.gid)
    executor.prepare(first)
    executor.start(first)
    with pytest.raises(EngineError, match=f"belongs to {first.name}"):
        executor.prepare(second)
    assert [found.name for found in executor.find(AGENT)] == [first.name]

    executor.clean_up(first)
    assert run_to_end(executor, second).exit.status == 0


def test_S10_attempts_cannot_signal_each_other_even_where_they_see_each_other(
    executor: DockerExecutor, canary: Canary, engine: Any
) -> None:
    first = canary("sleep", "30")
    executor.prepare(first)
    executor.start(first)
    neighbour = str(engine.inspect_container(first.name)["State"]["Pid"])
    together = {"PidMode": "host"}
    assert run_weakened(engine, executor, canary("kill", neighbour), together).json == {"kill": "EPERM"}
    assert [found.running for found in executor.find(AGENT) if found.name == first.name] == [True]

    # The twin has the first one's uid.
    twin = run_weakened(engine, executor, canary("kill", neighbour), together, User=first.user)
    assert twin.json == {"kill": "ok"}
    assert executor.wait(first).status == 128 + signal.SIGKILL
