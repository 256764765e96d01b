"""A sandbox that does not hold is found before any job runs in it (threats.md section 8, row S12).

The engine behind the proxy drops a wall and reports the container as it was asked for, so that the comparison
after create sees nothing: what is left is to try.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobrunner.agent import canary_watch
from jobrunner.agent.canary import examine
from jobrunner.agent.canary_findings import WALLS
from jobrunner.agent.control import Word
from jobrunner.agent.policy import Site, load_site
from jobrunner.agent.service import Agent
from jobrunner.executors.docker import DockerExecutor
from jobrunner.sync.vocabulary import Runtime
from tests.agent.policies import write_site
from tests.fixtures.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine", "tests.fixtures.runsc_engine"]

SMALL: dict[str, Any] = {
    "limits__cores": 0.25, "limits__memory_mib": 64, "limits__disk_mib": 64, "limits__inodes": 2000,
    "limits__slots": 2,
}  # fmt: skip
Make = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path, python_v2_image: str) -> Make:
    def make(**changes: Any) -> Site:
        images = {"python:v2": {"id": python_v2_image, "entrypoint": ["python3"]}}
        made = load_site(write_site(tmp_path / "site", **{"images": images, **SMALL, **changes}))
        for folder in (made.state, made.cache, made.high, made.high / "staging"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return made

    return make


@pytest.fixture
def liar(engine: Any) -> Iterator[tuple[EngineProxy, Callable[..., None]]]:
    """An engine, and `drop("PidsLimit", ...)`: it no longer does this, and says that it does."""
    del engine
    with EngineProxy() as proxy:
        asked: dict[str, dict[str, Any]] = {}

        def drop(*options: str, **others: Any) -> None:
            def weaken(body: dict[str, Any]) -> None:
                asked[body["Cmd"][1]] = json.loads(json.dumps(body["HostConfig"]))
                for option in options:
                    body["HostConfig"].pop(option)
                body["HostConfig"].update(others)

            def pretend(answer: dict[str, Any]) -> None:
                if "HostConfig" in answer:
                    honest = asked[answer["Config"]["Cmd"][1]]
                    for option in (*options, *others):
                        answer["HostConfig"][option] = honest.get(option)
                    answer["NetworkSettings"]["Networks"] = {"none": {}}

            proxy.change_create = weaken
            proxy.change_answer["/json"] = pretend

        yield proxy, drop
        proxy.change_create = None
        proxy.change_answer.clear()


@pytest.fixture
def lying(
    liar: tuple[EngineProxy, Callable[..., None]], tmp_path: Path
) -> Iterator[tuple[DockerExecutor, Callable[..., None]]]:
    """An executor of that engine."""
    proxy, drop = liar
    executor = DockerExecutor(tmp_path / "lying", engine_url=proxy.url)
    yield executor, drop
    proxy.change_create = None
    proxy.change_answer.clear()
    executor.sweep("site-one", keep=())
    executor.close()


def test_S12_twin_the_sandbox_of_this_host_holds(executor: DockerExecutor, site: Make) -> None:
    verdict = examine(site(), executor)
    assert verdict.sentence == ""
    assert verdict.passed
    assert {one.name for one in verdict.tried} == {*WALLS, "memory", "heard", "tree"}
    assert executor.find("site-one") == []


UNFILTERED = {"SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"]}
LIES = {
    "pids": (("PidsLimit",), {}, {"processes"}),
    "memory": (("Memory", "MemorySwap"), {}, {"memory"}),
    "files": (("Ulimits",), {}, {"open_files"}),
    "shm": (("ShmSize",), {}, {"shm_bytes"}),
    "tmp": (("Tmpfs",), {"Tmpfs": {"/tmp": "rw,nosuid,nodev,size=512m"}}, {"tmp_bytes", "tmp_files"}),
    "root": (("ReadonlyRootfs", "CapDrop"), {}, {"capabilities"}),
    "network": (("NetworkMode",), {"NetworkMode": "bridge"}, {"interfaces"}),
    "host_network": (("NetworkMode",), {"NetworkMode": "host"}, {"interfaces", "reach_abstract", "heard"}),
    "counters": (("MaskedPaths",), {}, {"disk_counters", "load_counters"}),
    "calls": (("SecurityOpt",), UNFILTERED, {"filter", "call_io_uring_setup", "call_personality"}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_S12_a_wall_that_the_engine_only_claims_is_missed(
    lying: tuple[DockerExecutor, Callable[..., None]], site: Make, lie: str
) -> None:
    executor, drop = lying
    options, others, walls = LIES[lie]
    drop(*options, **others)
    verdict = examine(site(), executor)
    assert not verdict.passed
    assert walls <= {one.name for one in verdict.tried if not one.held}, verdict


def test_S12_a_runtime_that_the_engine_does_not_have_is_refused(executor: DockerExecutor, site: Make) -> None:
    verdict = examine(site(sandbox__runtime="runsc"), executor)
    assert not verdict.passed
    assert "runsc" in verdict.sentence
    assert executor.find("site-one") == []


def test_S12_without_an_image_nothing_is_offered(
    executor: DockerExecutor, site: Make, canary_image: str
) -> None:
    unknown = {"x:v1": {"id": f"sha256:{'1' * 64}", "entrypoint": ["x"]}}
    assert "known to the engine" in examine(site(images=unknown), executor).sentence
    without_perl = {"x:v1": {"id": canary_image, "entrypoint": ["/canary"]}}
    assert "perl" in examine(site(images=without_perl), executor).sentence


def test_S12_an_agent_whose_sandbox_fails_takes_nothing(
    lying: tuple[DockerExecutor, Callable[..., None]], site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, drop = lying
    drop("PidsLimit")
    agent = Agent(site(), executor)
    assert agent._shared.hello.runtimes == (Runtime.RUNC,)
    assert agent._desk.accepting
    canary = agent._fitness._canary
    assert canary is not None
    canary.first()
    assert not agent._desk.accepting
    assert agent._shared.hello.runtimes == ()
    assert agent._state() == "halted"
    ((_second, _job, _number, reason, detail, message),) = agent._journal.incidents(5)
    assert (reason, detail) == ("site_policy", "runtime")
    assert "start more processes than the limit" in message
    (shown,) = agent._overview()["halts"]
    assert shown == message
    # The engine is mended, and the operator says so: it is tried again, and nothing else lets claims go on.
    drop()
    again = threading.Thread(target=canary.run)
    again.start()
    agent._answers()[Word.CANARY]()
    deadline = time.monotonic() + 60
    while not agent._desk.accepting and time.monotonic() < deadline:
        time.sleep(0.05)
    canary.stop()
    again.join(60)
    assert agent._desk.accepting
    assert agent._shared.hello.runtimes == (Runtime.RUNC,)
    structlog.reset_defaults()


def test_S12_a_record_counts_in_mode_test_alone_and_for_exactly_this(
    executor: DockerExecutor, site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site()
    first = canary_watch.try_sandbox(made, executor, may_trust_record=True)
    assert first.passed
    record = made.state / "canary.json"
    assert record.stat().st_mode & 0o777 == 0o600

    def never(*_arguments: object) -> None:
        raise AssertionError("it was tried again")

    again = canary_watch.examine
    monkeypatch.setattr(canary_watch, "examine", never)
    assert canary_watch.try_sandbox(made, executor, may_trust_record=True) == first

    def is_tried_again(**changes: Any) -> bool:
        with pytest.raises(AssertionError, match="tried again"):
            canary_watch.try_sandbox(site(**changes), executor, may_trust_record=True)
        return True

    assert is_tried_again(mode="production")
    assert is_tried_again(sandbox__runtime="runsc")
    whole = record.read_bytes()
    changed = [
        whole.replace(b'"held": true', b'"held": false', 1),
        whole.replace(b'"engine": "', b'"engine": "x', 1),
        whole.replace(b'"kernel": "', b'"kernel": "x', 1),
        whole.replace(b'"profile": "', b'"profile": "0', 1),
        whole.replace(b'"images": ["sha256:', b'"images": ["sha256:0', 1),
        whole.replace(f'"at": {first.at}'.encode(), f'"at": {first.at - 86_400}'.encode(), 1),
        whole.replace(f'"at": {first.at}'.encode(), f'"at": {first.at + 3_600}'.encode(), 1),
        whole[:-1], b"[]", b"", b'{"identity": 1}',
    ]  # fmt: skip
    for text in changed:
        assert text != whole
        record.write_bytes(text)
        assert is_tried_again()
    record.write_bytes(whole)
    record.chmod(0o644)
    assert is_tried_again()
    record.chmod(0o600)
    assert canary_watch.try_sandbox(site(), executor, may_trust_record=True) == first
    monkeypatch.setattr(canary_watch, "examine", again)
    assert canary_watch.try_sandbox(site(), executor, may_trust_record=False).at >= first.at


@pytest.fixture
def beside_runsc(runsc_engine: tuple[str, str], tmp_path: Path) -> Iterator[DockerExecutor]:
    """An executor of the engine that has runsc."""
    executor = DockerExecutor(tmp_path / "second", engine_url=runsc_engine[0])
    yield executor
    executor.sweep("site-one", keep=())
    executor.close()


@pytest.fixture
def site_of(runsc_engine: tuple[str, str], site: Make) -> Make:
    """site_of("runsc") -> a site whose jobs that runtime would run."""
    images = {"perl:v1": {"id": runsc_engine[1], "entrypoint": ["perl"]}}
    return lambda runtime: site(images=images, sandbox__runtime=runtime)


def test_S12_twin_runc_holds_on_the_engine_that_has_runsc(
    beside_runsc: DockerExecutor, site_of: Make
) -> None:
    assert examine(site_of("runc"), beside_runsc).sentence == ""


def test_S12_a_runsc_without_limits_is_refused_and_takes_nothing(
    beside_runsc: DockerExecutor, site_of: Make
) -> None:
    made = site_of("runsc")
    for folder in (made.high, made.medium, made.cache):
        folder.mkdir(parents=True, exist_ok=True)
    agent = Agent(made, beside_runsc)
    assert agent._shared.hello.runtimes == (Runtime.RUNSC,)
    agent._fitness.begin()
    agent._shared.finished.set()
    agent._fitness.end()
    assert not agent._desk.accepting
    assert agent._shared.hello.runtimes == ()
    ((_second, _job, _number, reason, detail, message),) = agent._journal.incidents(5)
    assert (reason, detail) == ("site_policy", "runtime")
    assert message.startswith(
        "The sandbox of runtime runsc cannot be trusted here: these walls did not hold: "
    )
    assert "make more files in /tmp than the limit (5000)" in message
    assert "start more processes than the limit (100)" in message
    assert "take more memory than the limit (exit 0)" in message
    assert beside_runsc.find("site-one") == []
    structlog.reset_defaults()
