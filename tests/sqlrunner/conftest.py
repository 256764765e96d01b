"""The program of the image sqlrunner:v1, imported from its recipe."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

RECIPE = Path(__file__).parents[2] / "deploy" / "images" / "sqlrunner-v1"
sys.path.insert(0, str(RECIPE))

# id, name, visits, weight; the last row is empty but for its id.
PEOPLE = ((1, "Ada", 3, 61.5), (2, 'O"Hara, Bob', 0, 80.0), (3, "Zoë", 12, 59.25), (4, None, None, None))
CSV = 'id,name,visits,weight\n1,Ada,3,61.5\n2,"O""Hara, Bob",0,80.0\n3,Zoë,12,59.25\n4,,,\n'


@pytest.fixture
def make_database(tmp_path: Path) -> Callable[[str], str]:
    """Make a database file of a kind with the table `people`; gives the value of DATABASE_URL."""

    def make(kind: str) -> str:
        path = tmp_path / f"data centre {kind}"
        columns = "id INTEGER, name VARCHAR, visits INTEGER, weight DOUBLE"
        connection = sqlite3.connect(path) if kind == "sqlite" else duckdb.connect(str(path))
        connection.execute(f"CREATE TABLE people ({columns})")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", PEOPLE)
        connection.commit()
        connection.close()
        path.chmod(0o444)
        return f"{kind}:///{path}"

    return make
