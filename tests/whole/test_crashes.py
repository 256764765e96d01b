"""kill -9 and outages: nothing is lost, run twice or published twice (threats.md P04 and section 7)."""

import json
import time
from pathlib import Path

import pytest
import requests

from tests.fixtures.world import Study, World, eventually

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

# Each run leaves a mark of its own, so that a second run of the same attempt would show in the output.
PIPELINE = """\
version: '5.0'
actions:
  work:
    run: python:v2 work.py
    outputs: {moderately_sensitive: {table: output/table.csv}}
"""
WORK = """\
import time, uuid
print("run", uuid.uuid4().hex, flush=True)
time.sleep(SECONDS)
open("output/table.csv", "w").write("group,n\\nall,60\\n")
"""
POINTS = [
    "before:accept",
    "after:accept",
    "after:fetch",
    "before:stage",
    "before:start",
    "before:wait",
    "after:wait",
    "before:collect",
    "before:deliver",
    "before:clean_up",
    "after:clean_up",
    "before:done",
]


def _files(seconds: float) -> dict[str, str]:
    return {"project.yaml": PIPELINE, "work.py": WORK.replace("SECONDS", str(seconds))}


def _succeeded_once(world: World, study: Study, request: str) -> None:
    found = world.wait(study, request)
    job = found["jobs"]["work"]
    assert (job["state"], job["reason"]) == ("succeeded", "completed")
    [(endings,)] = world.query(
        "SELECT count(*) FROM jobs_jobevent WHERE state IN ('succeeded', 'failed', 'refused', 'cancelled')"
    )
    assert endings == 1
    runs = sorted((world.high / "runs").glob("*/*/metadata.json"))
    assert len(runs) == 1
    log = (runs[0].parent / "log").read_text()
    assert log.count("run ") == 1
    manifest = json.loads((world.workspace(study, world.high) / "metadata/manifest.json").read_text())
    assert set(manifest["outputs"]) >= {"output/table.csv"}
    assert (world.workspace(study, world.medium) / "output/table.csv").read_text() == "group,n\nall,60\n"


def _nothing_is_left(world: World, engine) -> None:
    label = {"label": f"jobrunner.agent={world.backend}"}
    eventually(lambda: engine.containers(all=True, filters=label) == [] or None, what="no container")
    eventually(lambda: str(world.data) not in Path("/proc/mounts").read_text() or None, what="no mount")


@pytest.mark.parametrize("point", POINTS)
def test_P04_a_killed_agent_ends_the_job_once(world: World, engine, point: str) -> None:
    study = world.add_study("flchain", _files(0.5))
    world.start_agent(kill_at=point)
    request = world.ask(study, ["work"])
    assert world.agent_status() == -9, "the agent did not reach the point where it is killed"
    world.start_agent()
    _succeeded_once(world, study, request)
    _nothing_is_left(world, engine)


def test_P04_killed_while_the_container_runs(world: World, engine) -> None:
    study = world.add_study("flchain", _files(4))
    world.start_agent()
    request = world.ask(study, ["work"])
    label = {"label": f"jobrunner.agent={world.backend}"}
    [before] = eventually(lambda: engine.containers(filters=label) or None)
    world.kill_agent()
    [still] = engine.containers(filters=label)
    assert still["Id"] == before["Id"], "the container goes on without the agent"
    world.start_agent()
    _succeeded_once(world, study, request)
    _nothing_is_left(world, engine)


def test_P04_the_controller_is_away_for_half_a_minute(world: World, engine) -> None:
    study = world.add_study("flchain", _files(2))
    world.start_agent()
    request = world.ask(study, ["work"])
    label = {"label": f"jobrunner.agent={world.backend}"}
    eventually(lambda: engine.containers(filters=label) or None)
    world.stop_controller()
    left = time.monotonic()
    # The job ends while nobody listens: its outputs are there before the controller knows.
    table = world.workspace(study, world.medium) / "output/table.csv"
    eventually(lambda: table.exists() or None, what="the outputs")
    with pytest.raises(requests.ConnectionError):
        requests.get(world.url, timeout=2)
    time.sleep(max(0.0, 30 - (time.monotonic() - left)))
    world.start_controller()
    _succeeded_once(world, study, request)


def test_P04_agent_and_controller_are_both_killed(world: World, engine) -> None:
    study = world.add_study("flchain", _files(2))
    world.start_agent()
    request = world.ask(study, ["work"])
    eventually(lambda: engine.containers(filters={"label": f"jobrunner.agent={world.backend}"}) or None)
    world.stop_controller()
    world.kill_agent()
    world.start_agent()
    time.sleep(3)
    world.start_controller()
    _succeeded_once(world, study, request)
