"""Jobs through controller and agent: real processes, real git, real containers, on loopback."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import docker

from benchmarks.floor import raw_run
from benchmarks.measure import Measurement
from jobrunner.executors import images
from tests.fixtures.world import Study, World

IMAGE: Final = "python:v2"
# Seldom, since looking costs the controller time; what is measured is read from its own clock.
_LOOK_EVERY_S: Final = 0.5
NO_OP: Final = ("true",)
ENTRYPOINT: Final = ("/usr/local/bin/run-action", "python3")


def _pipeline(actions: int) -> str:
    lines = ["version: '5.0'", "actions:"]
    for number in range(actions):
        # Distinct commands, since no two actions of a file may be the same; `true` ignores its argument.
        lines.append(f"  step{number}: {{run: '{IMAGE} true {number}', outputs: {{highly_sensitive: {{}}}}")
        lines[-1] += f", needs: [step{number - 1}]}}" if number else "}"
    return "\n".join(lines) + "\n"


@contextmanager
def _site(actions: int) -> Iterator[tuple[World, Study, Any, str]]:
    image_id = images.ensure(IMAGE, print)
    engine = docker.APIClient(version="auto", timeout=60)
    with (
        tempfile.TemporaryDirectory(prefix="jobrunner-bench-") as folder,
        World(Path(folder), images={IMAGE: image_id}) as world,
    ):
        study = world.add_study("bench", {"project.yaml": _pipeline(actions)})
        world.start_agent()
        # The first request pays for what is made once: mirror, tree, connections.
        world.wait(study, world.ask(study, ["step0"]))
        yield world, study, engine, image_id
    engine.close()


def _finished(world: World, request: str) -> float:
    """When the controller had stored the end of the last job; seconds since 1970."""
    [(last,)] = world.query("SELECT finished_at FROM jobs_jobrequest WHERE request_id = ?", request)
    return datetime.fromisoformat(last).replace(tzinfo=UTC).timestamp()


def chain10(runs: int = 5) -> Measurement:
    """Ten actions, each needing the one before: from the request to the stored end of the last."""
    ours, floor = [], []
    with _site(10) as (world, study, engine, image_id):
        for _ in range(runs):
            began = time.time()
            request = world.ask(study, ["step9"], force=True)
            found = world.wait(study, request, timeout_s=120, every_s=_LOOK_EVERY_S)
            if any(job["state"] != "succeeded" for job in found["jobs"].values()):
                raise RuntimeError(f"a job of the chain did not succeed: {found}")
            ours.append(_finished(world, request) - began)
            floor.append(sum(raw_run(engine, image_id, ENTRYPOINT, (*NO_OP, str(n))) for n in range(10)))
    return Measurement("chain10", "chain of 10 no-op actions", ours, floor, "at most 1.6 x the floor")


def request_to_start(runs: int = 9) -> Measurement:
    """From sending the request to the engine's start of its first container; floor: one raw run."""
    ours, floor = [], []
    with _site(1) as (world, study, engine, image_id):
        for _ in range(runs):
            began = time.time()
            request = world.ask(study, ["step0"])
            world.wait(study, request, every_s=_LOOK_EVERY_S)
            ours.append(_container_start(engine, world, began) - began)
            floor.append(raw_run(engine, image_id, ENTRYPOINT, (*NO_OP, "0")))
    return Measurement(
        "request_to_start", "request to container start", ours, floor, "at most 0.5 s + one raw run"
    )


def _container_start(engine: Any, world: World, since: float) -> float:
    filters = {"type": "container", "event": "start", "label": f"jobrunner.agent={world.backend}"}
    events: Sequence[dict[str, Any]] = list(
        engine.events(since=int(since), until=int(time.time()) + 1, filters=filters, decode=True)
    )
    return min(event["timeNano"] / 1e9 for event in events if event["timeNano"] / 1e9 >= since)
