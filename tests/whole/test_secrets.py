"""A canary value planted wherever study code can put one leaves by no road (threats.md O11)."""

import json

import pytest
import requests

from tests.fixtures import databases
from tests.fixtures.recorder import Recorder
from tests.fixtures.world import World

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

CANARY = "zq7canary9999000018"
PIPELINE = """\
version: '5.0'
actions:
  rows:
    run: python:v2 rows.py
    outputs: {highly_sensitive: {rows: "output/*.csv"}, moderately_sensitive: {t: "tables/*.csv"}}
  loud:
    run: python:v2 loud.py
    needs: [rows]
    outputs: {moderately_sensitive: {t: other/t.csv}}
  absent:
    run: python:v2 absent.py
    needs: [rows]
    outputs: {moderately_sensitive: {t: more/t.csv}}
"""
ROWS = f"""\
open("output/{CANARY}.csv", "w").write("a,b\\n{CANARY},1\\n")
open("tables/{CANARY}.csv", "w").write("group,n\\n{CANARY},60\\n")
print("{CANARY}")
"""
LOUD = f"""\
import sys
print("{CANARY}", file=sys.stderr)
raise ValueError(open("output/{CANARY}.csv").read())
"""
ABSENT = f"""\
import os
os.makedirs("more/{CANARY}")
os.symlink("{CANARY}", "more/t.csv")
"""


def test_O11_a_canary_leaves_by_no_road(world: World) -> None:
    study = world.add_study(
        "flchain", {"project.yaml": PIPELINE, "rows.py": ROWS, "loud.py": LOUD, "absent.py": ABSENT}
    )
    with Recorder(world.controller_port) as relay:
        world.agent_speaks_to = relay.port
        world.start_agent()
        request = world.ask(study, ["run_all"])
        found = world.wait(study, request)
        assert {name: job["reason"] for name, job in found["jobs"].items()} == {
            "rows": "completed",
            "loud": "nonzero_exit",
            "absent": "outputs_missing",
        }
        said, heard = relay.sent, relay.received
    # The twin: the canary is really there, inside.
    inside = b"".join(path.read_bytes() for path in world.high.rglob("*") if path.is_file())
    assert CANARY.encode() in inside
    assert any(CANARY in path.name for path in world.high.rglob("*"))

    assert b"/api/v1/agent/events" in said, "the relay recorded what the agent sent"
    pages = b"".join(
        requests.get(f"{world.url}{path}", timeout=10).content
        for path in ("/", "/feed.json", f"/jobs/{request}")
    )
    dumped = databases.dump(world.controller_data).encode()
    stored = b"".join(path.read_bytes() for path in world.controller_data.glob("controller.sqlite3*"))
    for where, content in {
        "sent by the agent": said,
        "answered to the agent": heard,
        "pages": pages,
        "API": repr(world.read(study, request)).encode(),
        "controller's tables": dumped + stored,
        "controller's log": world.controller_log.read_bytes(),
    }.items():
        assert CANARY.encode() not in content, where


def test_O11_an_event_says_the_same_whatever_the_data_are(world: World) -> None:
    """Two runs with other data, names and errors differ on the wire in ids, times and signatures alone."""
    script = "import sys\nprint(sys.argv)\nraise SystemExit(CODE)\n"
    pipeline = (
        "version: '5.0'\nactions:\n  a:\n    run: python:v2 a.py\n"
        "    outputs: {highly_sensitive: {t: o/t.csv}}\n"
    )
    study = world.add_study("flchain", {"project.yaml": pipeline, "a.py": script.replace("CODE", "1")})
    world.start_agent()
    world.wait(study, world.ask(study, ["a"]))
    study.repository.commit({"a.py": script.replace("CODE", "77")})
    world.wait(study, world.ask(study, ["a"]))
    bodies = [body for (body,) in world.query("SELECT body FROM jobs_receipt ORDER BY id")]
    told = [
        {key: value for key, value in json.loads(body).items() if key in ("stage", "exit_class", "reason")}
        for body in bodies
    ]
    assert len(told) % 2 == 0
    assert told[: len(told) // 2] == told[len(told) // 2 :]
