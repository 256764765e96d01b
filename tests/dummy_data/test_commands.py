"""The commands `dummy`, `agent schema` and `images`, as a person types them."""

import json
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.unit, pytest.mark.slow]

JOBRUNNER = Path(sys.executable).with_name("jobrunner")
DOCS = Path(__file__).parents[2] / "docs" / "dummy-data.md"


def jobrunner(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(JOBRUNNER), *words], cwd=folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def blocks_of(kind: str) -> list[str]:
    """What stands between fences in the docs."""
    parts = DOCS.read_text(encoding="utf-8").split("\n```")[1::2]
    return [text for found, _, text in (part.partition("\n") for part in parts) if found == kind]


def test_every_command_of_the_docs_works(tmp_path: Path) -> None:
    (schema,) = blocks_of("yaml")
    (tmp_path / "dummy").mkdir()
    (tmp_path / "dummy" / "schema.yaml").write_text(schema, encoding="utf-8")
    first, second, third = (shlex.split(block)[1:] for block in blocks_of(""))
    done = jobrunner(tmp_path, *first)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Wrote dummy/patients.csv (200 rows).\nWrote dummy/visits.csv (500 rows).\n"
    shown = jobrunner(tmp_path, *second).stdout.splitlines()
    assert shown[0] == (tmp_path / "dummy" / "visits.csv").read_text().splitlines()[0]
    assert len(shown) == 1 + 12
    database = tmp_path / "rows.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE patients (id INTEGER, sex TEXT)")
    third[third.index("/etc/jobrunner/agent.toml")] = policy(tmp_path, database)
    done = jobrunner(tmp_path, *third)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "schema.yaml").read_text().partition("version")[2]
    assert written == ": 1\ntables:\n  patients:\n    columns:\n      id: int\n      sex: str\n"
    assert jobrunner(tmp_path, "dummy", "schema.yaml", "--rows", "2").stdout.startswith("id,sex\n")


def policy(folder: Path, database: Path | None) -> str:
    """A policy file of a site, with or without a database."""
    words = ["--backend", "north", "--controller", "https://x.example", "--git", "https://git.example/a"]
    image = f"sqlrunner:v1=sha256:{'0' * 64}"
    words += ["--image", image, "--data", str(folder / "data")]
    if database is not None:
        words += ["--database", f"sqlite={database}", "--dataset", "rows", "--database-image", "sqlrunner:v1"]
    place = folder / f"site-{database is None}"
    done = jobrunner(folder, "agent", "init", str(place), *words)
    assert done.returncode == 0, done.stderr
    return str(place / "agent.toml")


SCHEMA = "version: 1\ntables:\n  a: {columns: {x: int}}\n  b/c: {columns: {x: int}}\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nothing.yaml"], "nothing.yaml cannot be read"),
        (["."], "cannot be read"),
        (["s.yaml"], "several tables: a, b/c"),
        (["s.yaml", "--output", "x.csv"], "'dummy/{table}.csv'"),
        (["s.yaml", "--output", "{table}.csv"], "cannot be a file name"),
        (["s.yaml", "--table", "d"], "no table 'd'"),
        (["s.yaml", "--table", "a", "--output", "x.txt"], "must end in .csv"),
        (["s.yaml", "--table", "a", "--output", "s.yaml/x.csv"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "s.yaml").write_text(SCHEMA)
    done = jobrunner(tmp_path, "dummy", *words)
    assert done.returncode != 0
    assert done.stderr.startswith("jobrunner: ")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr


def test_mistakes_of_a_schema_are_told_as_those_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\ntables:\n  a: {columns: {x: integer, y: category}}\n")
    done = jobrunner(tmp_path, "dummy", "s.yaml")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("s.yaml:3:20: error unknown_type: ")
    assert lines[1].startswith("s.yaml:3:32: error missing_key: ")
    assert len(lines) == 2


def test_a_site_without_a_database_has_no_schema(tmp_path: Path) -> None:
    done = jobrunner(tmp_path, "agent", "schema", policy(tmp_path, None))
    assert done.returncode == 1
    assert "has no [database]; declare one first" in done.stderr


def test_images_say_what_is_wrong_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no gzip")
    for words, part in (
        (["build", "nothing:v1"], "There is no recipe for 'nothing:v1'"),
        (["export", "--output", "x", "nothing:v1"], "There is no recipe for 'nothing:v1'"),
        (["import", "x.tar.gz"], "nothing was loaded"),
        (["import", "y.tar.gz"], "No such file"),
        (["import", "x.tar.gz", "--id", "python:v2"], "is not NAME:VERSION=sha256:ID"),
    ):
        done = jobrunner(tmp_path, "images", *words)
        assert done.returncode == 1
        assert part in done.stderr
        assert done.stderr.count("\n") == 1


def test_images_are_listed_as_json(tmp_path: Path) -> None:
    done = jobrunner(tmp_path, "images", "list", "--json")
    found = {image["name"]: image for image in json.loads(done.stdout)["images"]}
    assert {"python:v2", "sqlrunner:v1"} <= set(found)
    assert set(found["python:v2"]) == {"name", "image_id", "size", "built_here", "in_engine"}
