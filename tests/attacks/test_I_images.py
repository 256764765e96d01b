"""Attacks by way of the image (threats.md section 8, rows I)."""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from jobrunner.executors import images
from jobrunner.executors.base import ActionRun, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures.canary_runs import AGENT, run_to_end, run_weakened
from tests.fixtures.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]
MakeImage = Callable[..., str]

HOSTILE: dict[str, Any] = {
    "Entrypoint": ["/setuid-canary", "exit", "7"],
    "Cmd": ["exit", "8"],
    "User": "0:0",
    "Env": ["LD_PRELOAD=/open/x.so", "PATH=/open", "HOME=/open", "DATABASE_URL=evil", "SECRET=1"],
    "Healthcheck": {"Test": ["CMD", "/canary", "put", "/workspace/health", "x"], "Interval": 1_000_000_000},
    "OnBuild": ["RUN /canary"],
    "StopSignal": "SIGKILL",
    "WorkingDir": "/open",
    "ExposedPorts": {"22/tcp": {}},
    "Labels": {"jobrunner.agent": "another-agent", "jobrunner.job": "x", "else": "kept"},
}


def test_I01_a_name_is_no_image(canary: Canary) -> None:
    run = canary("exit", "0")
    for image in (
        "python:v2",
        "jobrunner/python:v2",
        run.image_id.upper(),
        run.image_id[:-1],
        f"{run.image_id}\n",
    ):
        with pytest.raises(ValueError, match="image_id"):
            replace(run, image_id=image)


def test_I01_an_image_that_is_not_here_is_refused(executor: DockerExecutor, canary: Canary) -> None:
    run = canary("exit", "0", image_id=f"sha256:{'0' * 64}")
    assert not executor.image_present(run.image_id)
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "image"
    assert executor.find(AGENT) == []


def test_I01_an_engine_that_answers_with_another_image_has_none(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary
) -> None:
    executor, proxy = proxied
    run = canary("exit", "0")
    proxy.change_answer["/json"] = lambda answer: answer.update(Id=f"sha256:{'1' * 64}")
    assert not executor.image_present(run.image_id)
    proxy.change_answer.clear()
    assert executor.image_present(run.image_id)


def test_I01_a_moved_tag_changes_nothing(
    executor: DockerExecutor, canary: Canary, engine: Any, make_canary_image: MakeImage
) -> None:
    wanted, other = make_canary_image(User="0:0"), make_canary_image(User="0:0", Env=["OTHER=1"])
    assert executor.image_present(wanted)
    engine.tag(wanted, "jobrunner-test/moving", "v1")
    engine.tag(other, "jobrunner-test/moving", "v1", force=True)
    run = canary("words", "done", image_id=wanted)
    executor.prepare(run)
    executor.start(run)
    assert engine.inspect_container(run.name)["Image"] == wanted
    assert executor.wait(run).status == 0


def test_I02_our_settings_win_over_those_of_the_image(
    executor: DockerExecutor, canary: Canary, engine: Any, make_canary_image: MakeImage
) -> None:
    run = canary("snapshot", image_id=make_canary_image(**HOSTILE))
    ended = run_to_end(executor, run)
    assert (ended.exit.status, ended.json["uid"], ended.json["cwd"]) == (0, run.uid, "/workspace")
    names = {entry.partition("=")[0] for entry in ended.json["environment"]}
    assert names == {"HOME", "HOSTNAME", "LANG", "OMP_NUM_THREADS", "PATH", "TMPDIR", "TZ"}
    assert "HOME=/tmp" in ended.json["environment"]
    config = engine.inspect_container(run.name)["Config"]
    assert {**config["Labels"], **run.labels, "else": "kept"} == config["Labels"]
    assert (config["StopSignal"], config["Healthcheck"]["Test"]) == ("SIGTERM", ["NONE"])


def test_I02_twin_the_settings_of_the_image_work_alone(
    executor: DockerExecutor, canary: Canary, engine: Any, make_canary_image: MakeImage
) -> None:
    image = make_canary_image(**{**HOSTILE, "Entrypoint": ["/setuid-canary", "snapshot"], "Cmd": None})
    run = canary("snapshot", image_id=image)
    ended = run_weakened(engine, executor, run, {}, Entrypoint=None, Cmd=None, User="", Env=[], WorkingDir="")
    assert (ended.json["uid"], ended.json["cwd"]) == (0, "/open")
    assert {"LD_PRELOAD=/open/x.so", "PATH=/open", "SECRET=1"} <= set(ended.json["environment"])


def test_I02_policy_may_keep_a_name_for_an_image(
    executor: DockerExecutor, canary: Canary, make_canary_image: MakeImage
) -> None:
    kept = {"R_LIBS": "/usr/lib/R"}
    run = canary("snapshot", image_id=make_canary_image(Env=["R_LIBS=/x", "OTHER=1"]), environment=kept)
    seen = run_to_end(executor, run).json["environment"]
    assert "R_LIBS=/usr/lib/R" in seen
    assert not any(entry.startswith("OTHER") for entry in seen)


def test_I02_an_image_with_a_volume_is_refused(
    executor: DockerExecutor, canary: Canary, engine: Any, make_canary_image: MakeImage
) -> None:
    run = canary("exit", "0", image_id=make_canary_image(Volumes={"/data": {}}))
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "volume"
    assert engine.containers(all=True, filters={"name": run.name}) == []


@pytest.fixture(params=["python:v2", "sqlrunner:v1"])
def our_image(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Name and id of an image of ours."""
    fixture = {"python:v2": "python_v2_image", "sqlrunner:v1": "sqlrunner_v1_image"}[request.param]
    return request.param, request.getfixturevalue(fixture)


@contextmanager
def layer_of(name: str, image_id: str) -> Iterator[tarfile.TarFile]:
    """The one layer of an image, as it lies in the cache."""
    archive, built = images.build(name, print)
    assert built == image_id
    with tarfile.open(archive) as outer:
        inner = next(entry for entry in outer if entry.name.endswith(".tar"))
        file = outer.extractfile(inner)
        assert file is not None
        with tarfile.open(fileobj=file) as tar:
            yield tar


def test_I06_our_image_lets_nobody_in(our_image: tuple[str, str], engine: Any) -> None:
    name, image_id = our_image
    config = engine.inspect_image(image_id)["Config"]
    assert config["User"] == "65534:65534"
    assert not config.get("ExposedPorts")
    assert not config.get("Volumes")
    assert not config.get("Env")
    users = []
    with layer_of(name, image_id) as layer:
        for entry in layer:
            assert not entry.mode & 0o6000, f"{entry.name} is setuid or setgid"
            assert not entry.isdev(), f"{entry.name} is a device"
            assert entry.uid == 0 or not entry.isreg(), f"{entry.name} belongs to a user"
            assert entry.issym() or not entry.mode & 0o002 or entry.name == "tmp" or entry.mode & 0o1000, (
                entry.name
            )
            last = entry.name.rpartition("/")[2]
            assert last not in ("ssh", "sshd", "dropbear", "telnetd", "shadow", "sudo"), entry.name
            if entry.name.removeprefix("./") == "etc/passwd":
                file = layer.extractfile(entry)
                assert file is not None
                users = file.read().decode().splitlines()
    assert {line.rpartition(":")[2] for line in users} == {"/usr/sbin/nologin"}
