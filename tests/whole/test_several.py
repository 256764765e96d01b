"""Several jobs at once, each in its own place: whole containers, a whole controller, a whole agent."""

import json
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.world import Study, World, eventually

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

SMALL = "cores = 0.4\nmemory_mib = 200\ndisk_mib = 64\ninodes = 2000"
SCRIPT = """\
import os, sys, time, uuid
name = sys.argv[1]
print("run", uuid.uuid4().hex, flush=True)
time.sleep(float(sys.argv[2]))
open(f"output/{name}.csv", "w").write("group,n\\nall,60\\n")
"""

MakeWorld = Callable[..., World]


def files(names: list[str], seconds: float, script: str = SCRIPT) -> dict[str, str]:
    """A study with independent actions that each sleep and then write one table."""
    actions = "".join(
        f"  {name}:\n    run: python:v2 work.py {name} {seconds}\n"
        f"    outputs: {{moderately_sensitive: {{table: output/{name}.csv}}}}\n"
        for name in names
    )
    return {"project.yaml": f"version: '5.0'\nactions:\n{actions}", "work.py": script}


def containers(world: World, engine: Any, *, all: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.containers(
        all=all, filters={"label": f"jobrunner.agent={world.backend}"}
    )
    return found


def reason(world: World, study: Study, request: str, action: str) -> str:
    found: str = world.read(study, request)["jobs"][action]["reason"]
    return found


def test_P27_two_workspaces_take_turns(make_world: MakeWorld) -> None:
    world = make_world(policy=f"slots = 3\n{SMALL}")
    names = [f"a{number}" for number in range(10)]
    studies = [world.add_study(project, files(names, 0.1)) for project in ("busy", "quiet")]
    requests = [world.ask(study, ["run_all"]) for study in studies]
    world.start_agent()
    for study, request in zip(studies, requests, strict=True):
        ended = world.wait(study, request, timeout_s=120)
        assert {job["reason"] for job in ended["jobs"].values()} == {"completed"}
    begun = world.query(
        "SELECT p.slug FROM jobs_job j JOIN projects_workspace w ON w.id = j.workspace_id "
        "JOIN projects_project p ON p.id = w.project_id ORDER BY j.started_at, j.id"
    )
    assert len(begun) == 20
    # However far one looks, neither is ahead by more than the places that there are. In the order of asking
    # it would be all ten.
    lead = list(accumulate(1 if slug == "busy" else -1 for (slug,) in begun))
    assert max(map(abs, lead)) <= 3
    assert len({slug for (slug,) in begun[:3]}) == 2
    # Jobs of one workspace that ended together are all in its manifest.
    for study in studies:
        for area in (world.high, world.medium):
            manifest = json.loads((world.workspace(study, area) / "metadata/manifest.json").read_text())
            assert set(manifest["outputs"]) == {f"output/{name}.csv" for name in names}
            assert set(manifest["actions"]) == set(names)


def test_P04_an_agent_that_is_killed_over_five_jobs_ends_each_of_them_once(
    make_world: MakeWorld, engine: Any
) -> None:
    world = make_world(policy=f"slots = 5\n{SMALL}")
    names = [f"a{number}" for number in range(5)]
    study = world.add_study("flchain", files(names, 6))
    request = world.ask(study, ["run_all"])
    world.start_agent()
    eventually(lambda: len(containers(world, engine)) == 5 or None, what="five containers")
    before = {one["Id"]: engine.inspect_container(one["Id"]) for one in containers(world, engine)}
    world.kill_agent()
    # Nothing is shared: uid, disk and folder are each attempt's own.
    assert len({one["Config"]["User"] for one in before.values()}) == 5
    assert len({one["Mounts"][0]["Source"] for one in before.values()}) == 5
    overlays = [line for line in mounts(world) if line.split()[2] == "overlay"]
    uppers = {re.search(r"upperdir=([^,]+)", line)[1] for line in overlays}
    assert len(uppers) == len(overlays) == 5
    disks = {line.split()[0] for line in mounts(world) if line.split()[2] == "ext4"}
    assert len(disks) == 5
    assert {one["Id"] for one in containers(world, engine)} == set(before), "they go on without the agent"

    world.start_agent()
    ended = world.wait(study, request)
    assert {job["reason"] for job in ended["jobs"].values()} == {"completed"}
    endings = world.query(
        "SELECT job_id, count(*) FROM jobs_jobevent WHERE state = 'succeeded' GROUP BY job_id"
    )
    assert [count for _job, count in endings] == [1] * 5
    runs = sorted((world.high / "runs").glob("*/*/metadata.json"))
    assert len(runs) == 5
    assert all((run.parent / "log").read_text().count("run ") == 1 for run in runs)
    manifest = json.loads((world.workspace(study, world.high) / "metadata/manifest.json").read_text())
    assert set(manifest["outputs"]) == {f"output/{name}.csv" for name in names}
    eventually(lambda: containers(world, engine, all=True) == [] or None, what="no container")
    eventually(lambda: mounts(world) == [] or None, what="no mount")
    # The operator's way out: nothing runs, so it ends at once.
    assert world.cli("agent", "drain", str(world.etc / "agent.toml")).endswith("The agent has ended.\n")
    assert world.agent_status() == 0


def mounts(world: World) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(world.data) in line]


IGNORES_TERM = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(60)
"""


def test_P21_the_container_is_dead_before_the_feed_says_cancelled(make_world: MakeWorld, engine: Any) -> None:
    world = make_world(policy=f"slots = 2\nstop_s = 1\n{SMALL}")
    study = world.add_study("flchain", files(["deaf"], 0, IGNORES_TERM))
    world.start_agent()
    request = world.ask(study, ["run_all"])
    eventually(lambda: reason(world, study, request, "deaf") == "executing" or None)
    [container] = containers(world, engine)
    eventually(lambda: b"deaf" in engine.logs(container["Id"]) or None, what="a job that ignores TERM")
    asked = time.time()
    world.cancel(study, request)
    world.wait(study, request)
    told = time.time()
    died = [
        event["timeNano"] / 1e9
        for event in engine.events(
            since=int(asked) - 1, until=int(told) + 1, decode=True, filters={"container": container["Id"]}
        )
        if event["Action"] == "die"
    ]
    [(stored,)] = world.query("SELECT at FROM jobs_jobevent WHERE state = 'cancelled'")
    at = datetime.fromisoformat(str(stored)).replace(tzinfo=UTC).timestamp()
    assert asked + 1 < died[0] < at
    assert at - asked < 5
    print(f"asked 0.00, dead {died[0] - asked:.2f}, told {at - asked:.2f} s")


def test_a_paused_backend_finishes_what_runs_and_starts_nothing_until_it_goes_on(
    make_world: MakeWorld, engine: Any
) -> None:
    world = make_world(policy=f"slots = 2\n{SMALL}")
    study = world.add_study("flchain", files(["long", "late"], 4))
    world.start_agent()
    first = world.ask(study, ["long"])
    eventually(lambda: reason(world, study, first, "long") == "executing" or None)
    world.cli("controller", "pause", world.backend)
    second = world.ask(study, ["late"])
    assert reason(world, study, second, "late") == "paused"
    ended = world.wait(study, first)
    assert ended["jobs"]["long"]["reason"] == "completed"
    assert reason(world, study, second, "late") == "paused"
    assert containers(world, engine) == []
    said = world.cli("agent", "status", str(world.etc / "agent.toml"))
    assert said.startswith("The agent is paused by the controller.")
    began = time.monotonic()
    world.cli("controller", "resume", world.backend)
    eventually(lambda: reason(world, study, second, "late") == "executing" or None)
    assert time.monotonic() - began < 8
    # TERM drains: the job that runs is finished and told, then the agent ends well.
    world.signal_agent(signal.SIGTERM)
    assert world.agent_status() == 0
    assert reason(world, study, second, "late") == "completed"
