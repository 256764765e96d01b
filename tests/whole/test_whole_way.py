"""From a pushed commit to a moderately sensitive output: real git, real HTTP, real containers."""

import json
import stat

import pytest
import requests

from tests.fixtures.world import World, eventually

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

PIPELINE = """\
version: '5.0'
actions:
  extract:
    run: python:v2 analysis/extract.py
    outputs: {highly_sensitive: {rows: output/rows.csv}}
  describe:
    run: python:v2 python analysis/describe.py
    needs: [extract]
    config: {title: "It's due"}
    outputs:
      moderately_sensitive: {table: output/table.csv, bad: output/bad.csv, page: output/page.html}
"""
EXTRACT = """\
from pathlib import Path
Path("output/rows.csv").write_text("patient_id,age\\n" + "".join(f"{n},{40 + n % 50}\\n" for n in range(60)))
print("60 rows written")
"""
DESCRIBE = """\
import sys
from pathlib import Path
rows = Path("output/rows.csv").read_text().splitlines()
Path("output/table.csv").write_text(f"group,n\\nall,{len(rows) - 1}\\n")
Path("output/bad.csv").write_text("\\n".join(rows) + "\\n")
Path("output/page.html").write_text("<p>hello</p>")
print("arguments", sys.argv[1:])
"""
FILES = {"project.yaml": PIPELINE, "analysis/extract.py": EXTRACT, "analysis/describe.py": DESCRIBE}


def test_a_pushed_commit_becomes_a_moderately_sensitive_output(world: World) -> None:
    study = world.add_study("flchain", FILES)
    world.start_agent()
    request = world.ask(study, ["run_all"])
    found = world.wait(study, request)
    assert {name: (job["state"], job["reason"]) for name, job in found["jobs"].items()} == {
        "extract": ("succeeded", "completed"),
        "describe": ("succeeded", "completed"),
    }

    high, medium = world.workspace(study, world.high), world.workspace(study, world.medium)
    assert (medium / "output/table.csv").read_text() == "group,n\nall,60\n"
    assert (high / "output/rows.csv").read_text().startswith("patient_id,age\n")
    assert not (medium / "output/rows.csv").exists()
    # Refused by the file rules: in the medium area stands why, and not one value.
    assert not (medium / "output/bad.csv").exists()
    assert "SDC021" in (medium / "output/bad.csv.txt").read_text()
    assert not (medium / "output/page.html").exists()
    assert (medium / "output/page.html.txt").exists()
    assert (
        """arguments ['--config', '{"title": "It\\\\u0027s due"}']"""
        in (medium / "metadata/describe.log").read_text()
    )

    manifest = json.loads((high / "metadata/manifest.json").read_text())
    assert manifest["workspace"] == high.name
    assert manifest["outputs"]["output/rows.csv"]["level"] == "highly_sensitive"
    assert manifest["outputs"]["output/bad.csv"]["excluded"] is True
    assert stat.S_IMODE((high / "output/rows.csv").stat().st_mode) == 0o444

    page = requests.get(f"{world.url}/jobs/{request}", timeout=10)
    assert page.ok
    assert "describe" in page.text
    assert "succeeded" in page.text.lower()


def test_named_actions_run_again_and_their_needs_do_not(world: World) -> None:
    study = world.add_study("flchain", FILES)
    world.start_agent()
    first = world.wait(study, world.ask(study, ["describe"]))
    again = world.wait(study, world.ask(study, ["describe"]))
    assert first["jobs"]["extract"]["reason"] == "completed"
    assert again["jobs"]["extract"]["reason"] == "reused"
    assert again["jobs"]["describe"]["reason"] == "completed"
    assert len(list((world.high / "runs").iterdir())) == 3
    nothing = world.post(study, ["run_all"])
    assert nothing.status_code == 200
    assert nothing.json()["request"] is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(3)", "nonzero_exit"),
        ("print('no file')", "outputs_missing"),
        ("import os; os.symlink('/etc/passwd', 'output/rows.csv')", "outputs_missing"),
        ("x = bytearray(2**30)", "out_of_memory"),
        ("open('/workspace/big', 'wb').write(b'x' * 2**27)", "out_of_disk"),
        ("import time; time.sleep(60)", "out_of_time"),
    ],
)
def test_a_failure_has_its_reason_and_leaves_good_outputs_alone(make_world, script: str, reason: str) -> None:
    world = make_world(policy="memory_mib = 200\ndisk_mib = 64\ninodes = 2000\nwall_clock_s = 4")
    study = world.add_study("flchain", FILES)
    world.start_agent()
    world.wait(study, world.ask(study, ["extract"]))
    kept = world.workspace(study, world.high) / "output/rows.csv"
    good = kept.read_bytes()
    study.repository.commit({"analysis/extract.py": script})
    found = world.wait(study, world.ask(study, ["describe", "extract"]))
    assert found["jobs"]["extract"]["reason"] == reason
    assert found["jobs"]["describe"]["reason"] == "dependency_failed"
    assert kept.read_bytes() == good


def test_O02_a_hostile_file_name_costs_its_own_job_and_no_other(world: World) -> None:
    files = FILES | {
        "analysis/extract.py": "import os\nopen(os.fsencode('output/rows') + b'\\xff.csv', 'w')\n"
    }
    pipeline = PIPELINE.replace("output/rows.csv", "output/*.csv")
    study = world.add_study("flchain", files | {"project.yaml": pipeline})
    world.start_agent()
    refused = world.wait(study, world.ask(study, ["extract"]))
    assert refused["jobs"]["extract"]["reason"] == "outputs_refused"
    study.repository.commit({"analysis/extract.py": EXTRACT})
    after = world.wait(study, world.ask(study, ["extract"]))
    assert after["jobs"]["extract"]["reason"] == "completed"


def test_cancel_ends_the_container_before_the_feed_says_so(world: World, engine) -> None:
    files = FILES | {"analysis/extract.py": "import time; print('on', flush=True); time.sleep(300)"}
    study = world.add_study("flchain", files)
    world.start_agent()
    request = world.ask(study, ["run_all"])
    eventually(lambda: world.read(study, request)["jobs"]["extract"]["reason"] == "executing" or None)
    world.cancel(study, request)
    found = world.wait(study, request)
    running = engine.containers(filters={"label": f"jobrunner.agent={world.backend}"})
    assert running == []
    assert {job["state"] for job in found["jobs"].values()} == {"cancelled"}
