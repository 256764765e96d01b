"""The queries of the templates: on both kinds of database, and in step with the dummy data."""

import csv
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobrunner import templates

pytestmark = pytest.mark.unit

TABLE = (
    "CREATE TABLE flchain (id INTEGER, age INTEGER, sex TEXT, kappa DOUBLE, lambda DOUBLE, flc_grp INTEGER, "
    "futime INTEGER, death TEXT, chapter TEXT)"
)
QUERIES = sorted(
    path for name in templates.TEMPLATES for path in (templates.template(name) / "analysis").glob("*.sql")
)
# The table whose columns a query has, by template.
DUMMY = {"python": "flchain.csv", "r": "cohort.csv"}


def people() -> list[tuple[Any, ...]]:
    """600 made-up people, with rare values, missing ones, and some who are too young."""
    draw = random.Random(1)
    rows = []
    for number in range(600):
        death = draw.choice(["dead", "alive"])
        cause = draw.choices(["Circulatory", "Neoplasms", "Injury", None], [20, 10, 1, 1])[0]
        rows.append((
            number, draw.randrange(45, 95), draw.choice("FM"), draw.random(), draw.random(),
            draw.randrange(1, 11), draw.randrange(5000), death, cause if death == "dead" else None,
        ))  # fmt: skip
    return rows


def ask_sqlite(query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    connection = sqlite3.connect(":memory:")
    connection.execute(TABLE)
    connection.executemany("INSERT INTO flchain VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", people())
    answer = connection.execute(query)
    found = [column[0] for column in answer.description], answer.fetchall()
    connection.close()
    return found


def ask_duckdb(query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(TABLE.replace("lambda", '"lambda"'))
        connection.executemany("INSERT INTO flchain VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", people())
        answer = connection.execute(query)
        return [column[0] for column in answer.description], answer.fetchall()


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_query_means_the_same_on_both_databases_and_has_the_columns_of_its_dummy_data(path: Path) -> None:
    query = path.read_text()
    columns, rows = ask_sqlite(query)
    assert len(rows) > 3
    assert ask_duckdb(query) == (columns, rows)
    template = path.parents[1]
    with (template / "dummy" / DUMMY.get(template.name, f"{path.stem}.csv")).open(newline="") as file:
        assert next(csv.reader(file)) == columns


def test_no_count_of_sql_only_is_small_or_unrounded() -> None:
    counts = []
    for path in (templates.template("sql-only") / "analysis").glob("*.sql"):
        columns, rows = ask_sqlite(path.read_text())
        numbers = [columns.index(name) for name in ("people", "deaths") if name in columns]
        counts += [row[number] for row in rows for number in numbers]
    assert "[REDACTED]" in counts
    printed = [int(count) for count in counts if count != "[REDACTED]"]
    assert len(printed) > 20
    assert all(count == 0 or (count >= 10 and count % 5 == 0) for count in printed)


def test_the_tests_of_sql_only_pass_and_notice_a_count_that_is_not_removed(tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(templates.template("sql-only"), study)
    run = ["sh", str(study / "tests" / "run.sh")]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    query = study / "analysis" / "causes.sql"
    query.write_text(query.read_text().replace("BETWEEN 1 AND 7", "BETWEEN 1 AND 6"))
    assert subprocess.run(run, check=False, capture_output=True, timeout=60).returncode == 1
