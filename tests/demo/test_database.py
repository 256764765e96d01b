"""The database of the demo: typed columns, nothing that is not a number in a column of numbers."""

import sqlite3
from pathlib import Path

import pytest

from jobrunner.demo import database

pytestmark = pytest.mark.unit

HEADER = "age,sex,sample.yr,kappa,lambda,flc.grp,creatinine,mgus,futime,death,chapter"


def rows(place: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(place)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_columns_have_types_and_missing_values_are_null(tmp_path: Path) -> None:
    place = tmp_path / "site" / "flchain.sqlite"
    text = f"{HEADER}\n97,F,1997,5.7,4.86,10,1.7,no,85,dead,Circulatory\n62,M,2001,1,2,3,,yes,4000,alive,\n"
    database.make(text.encode(), place)
    assert rows(place, "SELECT * FROM flchain") == [
        (1, 97, "F", 1997, 5.7, 4.86, 10, 1.7, "no", 85, "dead", "Circulatory"),
        (2, 62, "M", 2001, 1.0, 2.0, 3, None, "yes", 4000, "alive", None),
    ]
    assert place.stat().st_mode & 0o777 == 0o444
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in place.parent.iterdir()] == ["flchain.sqlite"]


@pytest.mark.parametrize(
    "row", ["old,F,1997,5.7,4.86,10,1.7,no,85,dead,", ",F,1997,5.7,4.86,10,1.7,no,85,dead,"]
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        database.make(f"{HEADER}\n{row}\n".encode(), tmp_path / "site" / "flchain.sqlite")


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 columns"):
        database.make(b"age,sex\n97,F\n", tmp_path / "site" / "flchain.sqlite")
