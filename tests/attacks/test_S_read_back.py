"""An engine that makes another container than the one asked for (threats.md section 8, row S11)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import ActionRun, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures.canary_runs import run_to_end
from tests.fixtures.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]


# Without these two the engine's default is the same, so nothing is lost.
SAME_AS_DEFAULT = {"Runtime", "IpcMode"}
HOST_OPTIONS = (
    "NetworkMode", "Dns", "DnsSearch", "ShmSize", "CgroupnsMode", "CapDrop", "SecurityOpt", "MaskedPaths",
    "ReadonlyRootfs", "Tmpfs", "PidsLimit", "MemorySwap", "NanoCpus", "Ulimits", "LogConfig", "Init",
    "RestartPolicy", "Mounts",
)  # fmt: skip
CONFIG_OPTIONS = (
    "Labels", "User", "Entrypoint", "Cmd", "WorkingDir", "Hostname", "Healthcheck", "StopTimeout", "Env",
)  # fmt: skip


def refused_before_start(executor: DockerExecutor, proxy: EngineProxy, run: ActionRun, engine: Any) -> None:
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "sandbox"
    assert not any(call.endswith("/start") for call in proxy.calls)
    assert engine.containers(all=True, filters={"name": run.name}) == []


@pytest.mark.parametrize("option", HOST_OPTIONS)
def test_S11_engine_that_drops_a_host_option(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary, engine: Any, option: str
) -> None:
    executor, proxy = proxied
    proxy.change_create = lambda body: body["HostConfig"].pop(option)
    refused_before_start(executor, proxy, canary("exit", "0"), engine)


@pytest.mark.parametrize("option", CONFIG_OPTIONS)
def test_S11_engine_that_drops_an_option(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary, engine: Any, option: str
) -> None:
    executor, proxy = proxied
    proxy.change_create = lambda body: body.pop(option)
    refused_before_start(executor, proxy, canary("exit", "0"), engine)


ADDED: dict[str, Callable[[dict[str, Any]], object]] = {
    "mount": lambda body: body["HostConfig"].update(Binds=["/:/host"]),
    "second_mount": lambda body: body["HostConfig"]["Mounts"].append(
        {"Type": "tmpfs", "Target": "/more", "ReadOnly": False}
    ),
    "privileged": lambda body: body["HostConfig"].update(Privileged=True),
    "capability": lambda body: body["HostConfig"].update(CapAdd=["SYS_ADMIN"]),
    "host_pids": lambda body: body["HostConfig"].update(PidMode="host"),
    "host_names": lambda body: body["HostConfig"].update(UTSMode="host"),
    "device": lambda body: body["HostConfig"].update(
        Devices=[{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]
    ),
    "group": lambda body: body["HostConfig"].update(GroupAdd=["0"]),
    "sysctl": lambda body: body["HostConfig"].update(Sysctls={"net.ipv4.ip_forward": "1"}),
    "restart": lambda body: body["HostConfig"].update(RestartPolicy={"Name": "always"}),
    "unmasked": lambda body: body["HostConfig"].update(MaskedPaths=[]),
    "one_unmasked": lambda body: body["HostConfig"]["MaskedPaths"].remove("/sys/devices"),
    "writable_proc": lambda body: body["HostConfig"].update(ReadonlyPaths=[]),
    "unfiltered": lambda body: body["HostConfig"].update(SecurityOpt=["no-new-privileges:true"]),
    "unconfined": lambda body: body["HostConfig"]["SecurityOpt"].append("seccomp=unconfined"),
    "environment": lambda body: body["Env"].append("LD_PRELOAD=/workspace/x.so"),
    "entrypoint": lambda body: body.update(Entrypoint=["/setuid-canary"]),
    "argument": lambda body: body["Cmd"].append("more"),
    "terminal": lambda body: body.update(Tty=True),
}


@pytest.mark.parametrize("added", ADDED)
def test_S11_engine_that_adds_something(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary, engine: Any, added: str
) -> None:
    executor, proxy = proxied
    proxy.change_create = ADDED[added]
    refused_before_start(executor, proxy, canary("exit", "0"), engine)


def test_S11_engine_that_warns(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary, engine: Any
) -> None:
    executor, proxy = proxied
    warnings = ["Your kernel does not support pids limit capabilities. Pids limit discarded."]
    proxy.change_answer["/containers/create"] = lambda answer: answer.update(Warnings=warnings)
    refused_before_start(executor, proxy, canary("exit", "0"), engine)


def test_S11_engine_that_takes_another_image(
    proxied: tuple[DockerExecutor, EngineProxy],
    canary: Canary,
    engine: Any,
    make_canary_image: Callable[..., str],
) -> None:
    executor, proxy = proxied
    other = make_canary_image(User="0:0", Env=["OTHER=1"])
    proxy.change_create = lambda body: body.update(Image=other)
    refused_before_start(executor, proxy, canary("exit", "0"), engine)


@pytest.mark.parametrize("options", [[], ["name=apparmor"], ["name=seccomp,profile=unconfined"]])
def test_S11_engine_without_a_list_of_calls(engine: Any, tmp_path: Path, options: list[str]) -> None:
    del engine
    with EngineProxy() as proxy:
        proxy.change_answer["/info"] = lambda answer: answer.update(SecurityOptions=options)
        with pytest.raises(SandboxRefused) as refused:
            DockerExecutor(tmp_path / "work", engine_url=proxy.url)
    assert refused.value.detail == "sandbox"


def test_S11_twin_an_honest_proxy_changes_nothing(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary
) -> None:
    executor, proxy = proxied
    ended = run_to_end(executor, canary("words", "a b", "--c"))
    assert ended.json == {"0": "a b", "1": "--c"}
    assert any(call.endswith("/start") for call in proxy.calls)
