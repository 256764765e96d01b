"""The image sqlrunner:v1 in the sandbox of a job, with real database files."""

import ast
import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from jobrunner.executors import images
from jobrunner.executors.base import GIB, MIB, ActionRun
from jobrunner.executors.database import Database
from jobrunner.executors.docker import DockerExecutor
from jobrunner.executors.image_build import read_recipe
from tests.fixtures.canary_runs import AGENT, SMALL, Ended, job_id, run_to_end
from tests.sqlrunner.conftest import CSV

pytest_plugins = ["tests.fixtures.engine"]
pytestmark = pytest.mark.docker

KINDS = ("sqlite", "duckdb")
# The same memory as the canary, with room for large outputs.
LIMITS = replace(SMALL, disk=2 * GIB, inodes=10_000, tmp=64 * MIB, open_files=1024, wall_clock_s=120)
ENTRYPOINT = read_recipe(images.recipe_root() / "sqlrunner-v1").entrypoint

# 280 MB of text, without a table of that size.
BIG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700000) "
    "SELECT i, printf('%0400d', i) AS filler FROM n",
    "duckdb": "SELECT i, lpad(i::VARCHAR, 400, '0') AS filler FROM range(1, 700001) AS n(i)",
}
# Runs sqlrunner, then prints the types and the rows of the arrow file that it wrote.
SHOW_ARROW = """
import subprocess, sys
import pyarrow as pa
subprocess.run(["sqlrunner", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
with pa.ipc.open_file("output/out.arrow") as file:
    table = file.read_all()
print({field.name: str(field.type) for field in table.schema})
print([tuple(row.values()) for row in table.to_pylist()])
"""
ALL_AT_ONCE = """
import sqlite3
print(len(sqlite3.connect(":memory:").execute(open("q.sql").read()).fetchall()))
"""


class Study:
    """A study tree and a way to run commands of it in the image."""

    def __init__(
        self, folder: Path, image: str, executor: DockerExecutor, make_database: Callable[[str], str]
    ) -> None:
        self.tree = folder / "tree"
        self.tree.mkdir()
        self._folder = folder
        self._image = image
        self._executor = executor
        self._make_database = make_database
        self._runs: list[ActionRun] = []

    def run(self, kind: str | None, *words: str, sql: str = "SELECT * FROM people ORDER BY id") -> Ended:
        """Run one action, with a database of a kind or without any."""
        (self.tree / "q.sql").write_text(sql)
        database = None
        if kind is not None:
            path = self._folder / f"data centre {kind}"
            if not path.exists():
                self._make_database(kind)
            database = Database("sqlite" if kind == "sqlite" else "duckdb", path)
        run = ActionRun(
            agent_id=AGENT, job_id=job_id(), attempt=1, image_id=self._image, entrypoint=ENTRYPOINT,
            argv=words, uid=200_249, gid=200_249, tree=self.tree, folders=("output",), limits=LIMITS,
            database=database,
        )  # fmt: skip
        if self._runs:
            self._executor.clean_up(self._runs[-1])
        self._runs.append(run)
        return run_to_end(self._executor, run)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file that the last action wrote."""
        with (
            self._executor.open_outputs(self._runs[-1]) as folder,
            Path(f"/proc/self/fd/{folder}/{name}").open("rb") as file,
        ):
            yield file

    def read(self, name: str) -> bytes:
        """All of a file that the last action wrote."""
        with self.open(name) as file:
            return file.read()


@pytest.fixture
def study(
    tmp_path: Path,
    sqlrunner_v1_image: str,
    executor: DockerExecutor,
    make_database: Callable[[str], str],
) -> Study:
    return Study(tmp_path, sqlrunner_v1_image, executor, make_database)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [(), ("sqlrunner",)])
def test_rows_become_csv(study: Study, kind: str, first: tuple[str, ...]) -> None:
    ended = study.run(kind, *first, "--output", "output/out.csv", "q.sql")
    assert (ended.exit.status, ended.log) == (0, b"Wrote output/out.csv (columns: 4).\n")
    assert study.read("output/out.csv").decode() == CSV


@pytest.mark.parametrize("kind", KINDS)
def test_rows_become_compressed_csv(study: Study, kind: str) -> None:
    ended = study.run(kind, "--output", "output/out.csv.gz", "q.sql")
    assert ended.exit.status == 0, ended.log
    assert gzip.decompress(study.read("output/out.csv.gz")).decode() == CSV


@pytest.mark.parametrize(("kind", "whole"), [("sqlite", "int64"), ("duckdb", "int32")])
def test_rows_become_arrow(study: Study, kind: str, whole: str) -> None:
    (study.tree / "show.py").write_text(SHOW_ARROW)
    ended = study.run(kind, "python3", "show.py", "--output", "output/out.arrow", "q.sql")
    assert ended.exit.status == 0, ended.log
    types, rows = map(ast.literal_eval, ended.log.decode().splitlines())
    assert types == {"id": whole, "name": "string", "visits": whole, "weight": "double"}
    assert rows[1:] == [(2, 'O"Hara, Bob', 0, 80.0), (3, "Zoë", 12, 59.25), (4, None, None, None)]


def test_a_sqlite_column_has_the_type_of_all_its_values(study: Study) -> None:
    # More rows than one batch, so that the first batch alone would mislead.
    (study.tree / "show.py").write_text(SHOW_ARROW)
    sql = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
             SELECT CASE WHEN i = 6000 THEN 'late' END AS text,
             CASE WHEN i < 6000 THEN i ELSE 0.5 END AS number,
             CASE WHEN i = 6000 THEN x'00ff' END AS blob, NULL AS absent FROM n"""
    ended = study.run("sqlite", "python3", "show.py", "--output", "output/out.arrow", "q.sql", sql=sql)
    assert ended.exit.status == 0, ended.log
    types, rows = map(ast.literal_eval, ended.log.decode().splitlines())
    assert types == {"text": "string", "number": "double", "blob": "binary", "absent": "null"}
    assert (len(rows), rows[0], rows[-1]) == (6000, (None, 1.0, None, None), ("late", 0.5, b"\x00\xff", None))


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT CASE id WHEN 1 THEN 1 ELSE 'two' END AS mixed FROM people", b"Column mixed"),
        ("SELECT CASE id WHEN 1 THEN 9007199254740993 ELSE 0.5 END AS big FROM people", b"Column big"),
    ],
)
def test_a_sqlite_column_of_many_types_does_not_become_arrow(study: Study, sql: str, why: bytes) -> None:
    ended = study.run("sqlite", "--output", "output/out.arrow", "q.sql", sql=sql)
    assert (ended.exit.status, ended.log.count(b"\n")) == (1, 1)
    assert why in ended.log
    with pytest.raises(FileNotFoundError):
        study.read("output/out.arrow")


def test_an_error_of_duckdb_in_the_middle_quotes_no_value(study: Study) -> None:
    sql = "SELECT CAST(name AS INTEGER) AS number FROM people"
    ended = study.run("duckdb", "--output", "output/out.arrow", "q.sql", sql=sql)
    assert (ended.exit.status, ended.log.count(b"\n")) == (1, 1)
    assert b"stopped q.sql while it ran" in ended.log
    assert b"Ada" not in ended.log


@pytest.mark.parametrize("given", ["made.csv", "made.csv.gz"])
def test_dummy_data_become_arrow(study: Study, given: str) -> None:
    content = CSV.encode()
    (study.tree / given).write_bytes(gzip.compress(content) if given.endswith(".gz") else content)
    (study.tree / "show.py").write_text(SHOW_ARROW)
    words = ("--dummy-data-file", given, "--output", "output/out.arrow", "q.sql")
    ended = study.run(None, "python3", "show.py", *words)
    assert ended.exit.status == 0, ended.log
    types, rows = map(ast.literal_eval, ended.log.decode().splitlines())
    assert types == {"id": "int64", "name": "string", "visits": "int64", "weight": "double"}
    assert rows[2] == (3, "Zoë", 12, 59.25)


def test_dummy_data_in_arrow_become_csv(study: Study) -> None:
    assert study.run("sqlite", "--output", "output/out.arrow", "q.sql").exit.status == 0
    (study.tree / "made.arrow").write_bytes(study.read("output/out.arrow"))
    ended = study.run(None, "--dummy-data-file", "made.arrow", "--output", "output/out.csv", "q.sql")
    assert ended.exit.status == 0, ended.log
    assert study.read("output/out.csv").decode() == CSV
    (study.tree / "made.arrow").write_bytes(b"ARROW1 but no more than that")
    ended = study.run(None, "--dummy-data-file", "made.arrow", "--output", "output/out.csv", "q.sql")
    assert (ended.exit.status, ended.log.count(b"\n")) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_one_query_that_reads_is_refused(study: Study, kind: str) -> None:
    for sql, why in {
        "SELECT 1; SELECT 2": b"several statements",
        "SELECT nonsense FROM": b"does not accept q.sql",
        "SELECT * FROM read_csv('/etc/passwd')": b"does not accept q.sql",
        "ATTACH '/workspace/other' AS other": b"begins with SELECT or WITH",
        "INSTALL httpfs": b"begins with SELECT or WITH",
    }.items():
        ended = study.run(kind, "--output", "output/out.csv", "q.sql", sql=sql)
        assert (ended.exit.status, ended.log.count(b"\n")) == (1, 1), ended.log
        assert why in ended.log
        assert b"nologin" not in ended.log


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["output/out.csv.gz", "output/out.arrow"])
def test_a_result_larger_than_the_memory_is_streamed(study: Study, kind: str, output: str) -> None:
    ended = study.run(kind, "--output", output, "q.sql", sql=BIG[kind])
    assert (ended.exit.status, ended.exit.out_of_memory) == (0, False), ended.log
    with study.open(output) as file:
        content = gzip.GzipFile(fileobj=file) if output.endswith(".gz") else file
        assert content.seek(0, os.SEEK_END) > LIMITS.memory


def test_twin_all_rows_at_once_do_not_fit(study: Study) -> None:
    (study.tree / "all.py").write_text(ALL_AT_ONCE)
    ended = study.run(None, "python3", "all.py", sql=BIG["sqlite"])
    assert (ended.exit.status != 0, ended.exit.out_of_memory) == (True, True)


def test_a_time_with_a_zone_becomes_csv(study: Study) -> None:
    sql = "SELECT TIMESTAMPTZ '2020-01-31 12:30:00+02' AS t"
    ended = study.run("duckdb", "--output", "output/out.csv", "q.sql", sql=sql)
    assert ended.exit.status == 0, ended.log
    assert study.read("output/out.csv") == b"t\n2020-01-31 10:30:00+00:00\n"


def test_files_of_the_study_do_not_stand_in_for_modules(study: Study) -> None:
    for name in ("sqlrunner", "duckdb", "csv", "sqlite3", "sitecustomize"):
        (study.tree / f"{name}.py").write_text("print('the study was here')\n")
    (study.tree / "sqlrunner").mkdir()
    (study.tree / "sqlrunner" / "__main__.py").write_text("print('the study was here')\n")
    ended = study.run("duckdb", "sqlrunner", "--output", "output/out.csv", "q.sql")
    assert (ended.exit.status, ended.log) == (0, b"Wrote output/out.csv (columns: 4).\n")
