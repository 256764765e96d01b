"""A database action from the commit to its rows, and all that keeps others from the same file (S13)."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from jobrunner.executors.database import Database
from tests.fixtures.database_files import ROWS, make_database
from tests.fixtures.world import Study, World

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

# The same image under two names: what counts is the action, and what was signed.
PIPELINE = """\
version: '5.0'
actions:
  extract:
    run: sqlrunner:v1 python3 analysis/extract.py
    outputs: {highly_sensitive: {rows: output/rows.csv}}
  look:
    run: python:v2 analysis/look.py
    outputs: {moderately_sensitive: {seen: output/seen.txt}}
"""
EXTRACT = """\
import os, sqlite3
path = os.environ["DATABASE_URL"].removeprefix("sqlite:///")
rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("SELECT * FROM patients ORDER BY id")
with open("output/rows.csv", "w") as file:
    file.write("patient_id,age\\n" + "".join(f"{id},{age}\\n" for id, age in rows))
"""
LOOK = """\
import os
from pathlib import Path
Path("output/seen.txt").write_text(f"{os.environ.get('DATABASE_URL')} {os.path.exists('/jobrunner')}\\n")
"""
FILES = {"project.yaml": PIPELINE, "analysis/extract.py": EXTRACT, "analysis/look.py": LOOK}

MakeWorld = Callable[..., World]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return make_database(tmp_path / "site-data")


@pytest.fixture
def world(make_world: MakeWorld, database: Database, python_v2_image: str) -> World:
    """A site whose sqlrunner:v1 may read the database, which is public since git and controller are http."""
    options = (
        "--database", f"{database.kind}={database.path}", "--dataset", "patients",
        "--database-image", "sqlrunner:v1", "--database-public",
    )  # fmt: skip
    images = {"sqlrunner:v1": python_v2_image}
    limits = "slots = 4\ncores = 0.5\nmemory_mib = 512\ndisk_mib = 1024"
    return make_world(images=images, site_options=options, policy=limits)


def incidents(world: World) -> list[tuple[str, str]]:
    """Reason and detail of what the agent refused, which stay at the site."""
    with sqlite3.connect(world.data / "state/agent.db") as journal:
        return journal.execute("SELECT reason, detail FROM incidents ORDER BY rowid").fetchall()


def state_of(world: World, study: Study, action: str) -> tuple[str, str]:
    job = world.wait(study, world.ask(study, [action]))["jobs"][action]
    return job["state"], job["reason"]


def test_S13_only_a_signed_database_action_reads_the_file(world: World, database: Database) -> None:
    before = database.path.read_bytes(), database.path.stat().st_mode
    study = world.add_study("allowed", FILES, approve=False)
    world.approve(study, database=True, datasets=["patients"])
    unsigned = world.add_study("unsigned", FILES)
    other = world.add_study("other", FILES, approve=False)
    world.approve(other, database=True, datasets=["other-patients"])
    world.start_agent()

    assert state_of(world, study, "extract") == ("succeeded", "completed")
    rows = (world.workspace(study, world.high) / "output/rows.csv").read_text()
    assert rows == "patient_id,age\n" + "".join(f"{number},{age}\n" for number, age in ROWS)

    # The same project, the same image and a signature for the database: no database action, no database.
    assert state_of(world, study, "look") == ("succeeded", "completed")
    assert (world.workspace(study, world.medium) / "output/seen.txt").read_text() == "None False\n"
    assert incidents(world) == []

    assert state_of(world, unsigned, "extract") == ("refused", "database_not_allowed")
    assert incidents(world) == [("database_not_allowed", "approval")]
    assert state_of(world, other, "extract") == ("refused", "database_not_allowed")
    assert incidents(world)[1:] == [("database_not_allowed", "dataset")]

    world.kill_agent()
    assert (database.path.read_bytes(), database.path.stat().st_mode) == before
    assert database.path.stat().st_nlink == 1
    assert [path.name for path in database.path.parent.iterdir()] == [database.path.name]
