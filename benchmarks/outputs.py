"""From the end of a container to the stored end of its job, and inputs on the way in."""

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import finished, site
from benchmarks.measure import Measurement
from jobrunner.agent.policy import load_site
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.runs import stage_inputs
from jobrunner.sync.identity import workspace_name
from tests.fixtures.world import World

GIB: Final = 2**30
_CHUNK: Final = 2**20

_MANY: Final = """\
version: '5.0'
actions:
  many:
    run: python:v2 many.py
    outputs: {moderately_sensitive: {tables: output/*.csv}}
"""
_MANY_PY: Final = """\
for number in range(1000):
    with open(f"output/table{number}.csv", "w") as file:
        file.write("group,count\\n" + "".join(f"g{row},{(row + number) % 90 * 10}\\n" for row in range(20)))
"""
_LARGE: Final = """\
version: '5.0'
actions:
  large:
    run: python:v2 large.py
    outputs: {highly_sensitive: {rows: output/rows.bin}}
  reads:
    run: python:v2 true reads
    needs: [large]
    outputs: {highly_sensitive: {}}
"""
# Random bytes of one MiB again and again: nothing that a file system could leave out.
_LARGE_PY: Final = """\
import os
piece = os.urandom(2**20)
with open("output/rows.bin", "wb") as file:
    for _ in range(1024):
        file.write(piece)
    os.fsync(file.fileno())
"""


def outputs_1000(runs: int = 5) -> Measurement:
    """1,000 moderately sensitive tables: collected, checked by content, published, told, stored.

    Floor: only to make 1,000 such files in one folder and flush them. On ext4 without a journal it takes
    several times as long for five minutes after many files were removed: their inodes are passed over one by
    one.
    """
    files = {"project.yaml": _MANY, "many.py": _MANY_PY}
    ours, floor = [], []
    with site(files, "many") as (world, study, engine, _image):
        for _ in range(runs):
            ours.append(_exit_to_end(world, study, engine, "many"))
            floor.append(_make_files(world.root, 1000))
    return Measurement("outputs_1000", "1,000 small outputs, exit to succeeded", ours, floor, "at most 1 s")


def output_1gib(runs: int = 5) -> Measurement:
    """One output of 1 GiB; floor: read, hash, copy and fsync it in one pass on the same file system."""
    ours, floor = [], []
    with site({"project.yaml": _LARGE, "large.py": _LARGE_PY}, "large") as (world, study, engine, _image):
        for _ in range(runs):
            ours.append(_exit_to_end(world, study, engine, "large"))
            floor.append(_hash_and_copy(world.root))
    return Measurement(
        "output_1gib", "1 GiB output, exit to succeeded", ours, floor, "at most 1.2 x hash + copy + fsync"
    )


def input_1gib(runs: int = 9) -> Measurement:
    """The staging of an input of 1 GiB, as the agent does it for a job."""
    ours = []
    with site({"project.yaml": _LARGE, "large.py": _LARGE_PY}, "large") as (world, study, _engine, _image):
        place = load_site(world.etc / "agent.toml")
        areas = Areas(place.high, place.medium)
        workspace = workspace_name(study.project, study.url, "main")
        for number in range(runs):
            began = time.monotonic()
            run = areas.current_run(workspace, "large")
            if run is None:
                raise RuntimeError("the large output is not there")
            staged = stage_inputs([run], place.high / "staging" / f"bench-{number}")
            ours.append(time.monotonic() - began)
            if [file.size for file in staged.files] != [GIB]:
                raise RuntimeError(f"something else was staged: {staged}")
    return Measurement("input_1gib", "1 GiB input, staged", ours, [], "under 0.1 s")


def _exit_to_end(world: World, study: Any, engine: Any, action: str) -> float:
    began = time.time()
    request = world.ask(study, [action], force=True)
    found = world.wait(study, request, timeout_s=120, every_s=0.5)
    if found["jobs"][action]["state"] != "succeeded":
        raise RuntimeError(f"the job did not succeed: {found}")
    filters = {"type": "container", "event": "die", "label": f"jobrunner.agent={world.backend}"}
    events: list[dict[str, Any]] = list(
        engine.events(since=int(began), until=int(time.time()) + 1, filters=filters, decode=True)
    )
    ended = max(event["timeNano"] / 1e9 for event in events)
    return finished(world, request) - ended


def _make_files(root: Path, count: int) -> float:
    """Seconds to make files of a small table's size and flush them."""
    content = b"g1,100\n" * 20
    folder = Path(tempfile.mkdtemp(dir=root))
    began = time.monotonic()
    for number in range(count):
        (folder / f"table{number}.csv").write_bytes(content)
    os.sync()
    return time.monotonic() - began


def _hash_and_copy(root: Path) -> float:
    """Seconds to bring a file of 1 GiB, which was written a moment ago, elsewhere with its sha256."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        source, copy = Path(folder) / "source", Path(folder) / "copy"
        piece = os.urandom(_CHUNK)
        with source.open("wb") as file:
            for _ in range(GIB // _CHUNK):
                file.write(piece)
            os.fsync(file.fileno())
        began = time.monotonic()
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
        with source.open("rb", buffering=0) as read, copy.open("wb", buffering=0) as written:
            while length := read.readinto(buffer):
                digest.update(buffer[:length])
                written.write(buffer[:length])
            os.fsync(written.fileno())
        return time.monotonic() - began
