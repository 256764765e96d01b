"""Jobs through controller and agent: real processes, real git, real containers, on loopback."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import docker

from benchmarks.floor import raw_run
from benchmarks.measure import Measurement, scratch
from jobrunner.executors import images
from tests.fixtures.world import Study, World

IMAGE: Final = "python:v2"
# How often the database is looked into: asking the controller would cost it time that the jobs need.
_LOOK_EVERY_S: Final = 0.1
_PATIENCE_S: Final = 120.0
_SIDE_BY_SIDE: Final = 2
_POLICY: Final = f"cores = 1.0\nmemory_mib = 2048\nslots = {_SIDE_BY_SIDE}"
NO_OP: Final = ("true",)
ENTRYPOINT: Final = ("/usr/local/bin/run-action", "python3")


def _pipeline(actions: int, *, chained: bool = True) -> dict[str, str]:
    lines = ["version: '5.0'", "actions:"]
    for number in range(actions):
        # Distinct commands, since no two actions of a file may be the same; `true` ignores its argument.
        lines.append(f"  step{number}: {{run: '{IMAGE} true {number}', outputs: {{highly_sensitive: {{}}}}")
        lines[-1] += f", needs: [step{number - 1}]}}" if number and chained else "}"
    return {"project.yaml": "\n".join(lines) + "\n"}


@contextmanager
def site(files: Mapping[str, str], warm_up: str) -> Iterator[tuple[World, Study, Any, str]]:
    """A world with one study of these files, whose action `warm_up` has run; the engine; the image's id.

    Two jobs run at once, each with one core: as many as the floor gets where it runs side by side.
    """
    image_id = images.ensure(IMAGE, print)
    engine = docker.APIClient(version="auto", timeout=60)
    with (
        scratch() as folder,
        World(Path(folder), images={IMAGE: image_id}, policy=_POLICY) as world,
    ):
        study = world.add_study("bench", files)
        world.start_agent()
        # The first request pays for what is made once: mirror, tree, connections.
        world.wait(study, world.ask(study, [warm_up]))
        yield world, study, engine, image_id
    engine.close()


def _ended(world: World, study: Study, request: str) -> dict[str, Any]:
    """Wait for the end of a request beside the controller and until all is cleaned up; what it says then."""
    over = time.monotonic() + _PATIENCE_S
    while world.query("SELECT 1 FROM jobs_jobrequest WHERE request_id = ? AND finished_at IS NULL", request):
        if time.monotonic() > over:
            raise RuntimeError(f"request {request} did not end within {_PATIENCE_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
    found = world.wait(study, request)
    # The floor has the machine for itself, as our run had.
    while any((world.data / "cache" / "work" / "attempts").iterdir()):
        time.sleep(_LOOK_EVERY_S)
    return found


def finished(world: World, request: str) -> float:
    """When the last event arrived at the controller, by its clock; seconds since 1970.

    It is the moment at which the call that told it began. The commit comes milliseconds later.
    """
    [(last,)] = world.query("SELECT finished_at FROM jobs_jobrequest WHERE request_id = ?", request)
    return datetime.fromisoformat(last).replace(tzinfo=UTC).timestamp()


def chain10(runs: int = 7) -> Measurement:
    """Ten actions, each needing the one before: from the request to the arrival of the last one's end."""
    ours, floor = [], []
    with site(_pipeline(10), "step0") as (world, study, engine, image_id):
        for _ in range(runs):
            began = time.time()
            request = world.ask(study, ["step9"], force=True)
            found = _ended(world, study, request)
            if any(job["state"] != "succeeded" for job in found["jobs"].values()):
                raise RuntimeError(f"a job of the chain did not succeed: {found}")
            ours.append(finished(world, request) - began)
            floor.append(sum(raw_run(engine, image_id, ENTRYPOINT, (*NO_OP, str(n))) for n in range(10)))
    return Measurement("chain10", "chain of 10 no-op actions", ours, floor, "at most 1.25 x the floor")


def independent20(runs: int = 7) -> Measurement:
    """Twenty actions that need nothing, two at a time; floor: twenty raw runs, two at a time."""
    ours, floor = [], []
    actions = [f"step{number}" for number in range(20)]
    with (
        site(_pipeline(20, chained=False), "step0") as (world, study, engine, image_id),
        ThreadPoolExecutor(_SIDE_BY_SIDE) as beside,
    ):
        for _ in range(runs):
            began = time.time()
            request = world.ask(study, actions, force=True)
            found = _ended(world, study, request)
            if any(job["state"] != "succeeded" for job in found["jobs"].values()):
                raise RuntimeError(f"a job did not succeed: {found}")
            ours.append(finished(world, request) - began)
            began = time.time()
            list(
                beside.map(
                    lambda n: raw_run(engine, image_id, ENTRYPOINT, (*NO_OP, str(n))),
                    range(20),
                )
            )
            floor.append(time.time() - began)
    return Measurement(
        "independent20", "20 independent no-op actions, 2 at once", ours, floor, "at most 1.3 x the floor"
    )


def request_to_start(runs: int = 9) -> Measurement:
    """From sending the request to the engine's start of its first container; floor: one raw run."""
    ours, floor = [], []
    with site(_pipeline(1), "step0") as (world, study, engine, image_id):
        for _ in range(runs):
            began = time.time()
            request = world.ask(study, ["step0"])
            _ended(world, study, request)
            ours.append(_container_start(engine, world, began) - began)
            floor.append(raw_run(engine, image_id, ENTRYPOINT, (*NO_OP, "0")))
    return Measurement(
        "request_to_start", "request to container start", ours, floor, "at most 0.3 s + one raw run"
    )


def _container_start(engine: Any, world: World, since: float) -> float:
    filters = {"type": "container", "event": "start", "label": f"jobrunner.agent={world.backend}"}
    events: Sequence[dict[str, Any]] = list(
        engine.events(since=int(since), until=int(time.time()) + 1, filters=filters, decode=True)
    )
    return min(event["timeNano"] / 1e9 for event in events if event["timeNano"] / 1e9 >= since)
