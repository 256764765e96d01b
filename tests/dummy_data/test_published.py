"""What a site tells of its database: the structure, and nothing that follows from a row."""

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.dummy_data import Column, Schema, Table, read_schema
from jobrunner.dummy_data.published import CannotTell, Kind, published_schema, sqlite_catalogue_only, type_of
from jobrunner.dummy_data.writing import names_and_types

pytestmark = pytest.mark.unit

CANARY = "canary-7f3a"
TABLES = {
    "sqlite": (
        'CREATE TABLE patients (id INTEGER PRIMARY KEY, sex TEXT NOT NULL, bmi REAL, "date of birth" DATE, '
        "twice INTEGER GENERATED ALWAYS AS (id * 2), untyped)",
        "CREATE TABLE visits (patient INTEGER REFERENCES patients (id), seen TIMESTAMP)",
        "CREATE VIEW adults AS SELECT id, sex FROM patients WHERE bmi > 0",
        "CREATE INDEX by_sex ON patients (sex)",
    ),
    "duckdb": (
        "CREATE TABLE patients (id BIGINT PRIMARY KEY, sex VARCHAR, bmi DECIMAL(5, 2), "
        "\"date of birth\" DATE, list INTEGER[], yes BOOLEAN)",
        "CREATE TABLE visits (patient BIGINT, seen TIMESTAMP WITH TIME ZONE)",
        "CREATE VIEW adults AS SELECT id, sex FROM patients WHERE bmi > 0",
    ),
}  # fmt: skip
VISITS = "INSERT INTO visits VALUES (1, '2020-01-01 00:00:00')"
PATIENTS = {
    "sqlite": "INSERT INTO patients VALUES (1, 'canary-7f3a', 20.5, '1950-01-01', x'00')",
    "duckdb": "INSERT INTO patients VALUES (1, 'canary-7f3a', 20.5, '1950-01-01', [1, 2], true)",
}


def make(path: Path, kind: Kind, *statements: str) -> Path:
    connection = sqlite3.connect(path) if kind == "sqlite" else duckdb.connect(str(path))
    with closing(connection):
        for statement in statements:
            connection.execute(statement)
        connection.commit() if isinstance(connection, sqlite3.Connection) else None
    return path


EXPECTED = {
    "sqlite": {
        "adults": {"id": "int", "sex": "str"},
        "patients": {
            "id": "int", "sex": "str", "bmi": "float", "date of birth": "date",
            "twice": "int", "untyped": "other",
        },
        "visits": {"patient": "int", "seen": "datetime"},
    },
    "duckdb": {
        "adults": {"id": "int", "sex": "str"},
        "patients": {
            "id": "int", "sex": "str", "bmi": "float", "date of birth": "date",
            "list": "other", "yes": "bool",
        },
        "visits": {"patient": "int", "seen": "datetime"},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_names_and_types_of_every_table_and_view(tmp_path: Path, kind: Kind) -> None:
    read = read_schema(published_schema(kind, make(tmp_path / "x.db", kind, *TABLES[kind])).encode())
    assert read.schema is not None, read.problems
    found = {
        table.name: {column.name: column.type for column in table.columns} for table in read.schema.tables
    }
    assert found == EXPECTED[kind]


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_other_rows_give_the_same_bytes(tmp_path: Path, kind: Kind) -> None:
    empty = make(tmp_path / "empty.db", kind, *TABLES[kind])
    # Rows, statistics about them, and tables made in another order.
    more = ("ANALYZE",) if kind == "sqlite" else ("ANALYZE", "CHECKPOINT")
    tables = TABLES[kind]
    full = make(
        tmp_path / "full.db", kind, tables[1], tables[0], *tables[2:], PATIENTS[kind], *[VISITS] * 50, *more
    )
    assert full.read_bytes().find(CANARY.encode()) >= 0
    text = published_schema(kind, full)
    assert text == published_schema(kind, empty)
    assert CANARY not in text


def test_no_row_can_be_read_while_the_catalogue_is(tmp_path: Path) -> None:
    with sqlite_catalogue_only(make(tmp_path / "x.db", "sqlite", *TABLES["sqlite"])) as database:
        for statement in ("SELECT count(*) FROM patients", "SELECT id FROM adults", "PRAGMA cache_size = 1"):
            with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
                database.execute(statement)


def test_an_enumeration_does_not_tell_its_values(tmp_path: Path) -> None:
    path = make(
        tmp_path / "x.db",
        "duckdb",
        "CREATE TABLE rows (name VARCHAR); INSERT INTO rows VALUES ('canary-7f3a[1]')",
        "CREATE TYPE names AS ENUM (SELECT name FROM rows)",
        "CREATE TABLE t (name names)",
    )
    text = published_schema("duckdb", path)
    assert CANARY not in text
    assert "      name: str\n" in text


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("no database" * 999)
    for kind in ("sqlite", "duckdb"):
        with pytest.raises(CannotTell, match="cannot be read as"):
            published_schema(kind, path)
        with pytest.raises(CannotTell, match="cannot be read as"):
            published_schema(kind, tmp_path / "nothing.db")


def test_a_database_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="has no tables"):
        published_schema("sqlite", make(tmp_path / "x.db", "sqlite", "CREATE TABLE t (a)", "DROP TABLE t"))


def test_a_name_that_hides_something_is_not_published(tmp_path: Path) -> None:
    path = make(tmp_path / "x.db", "sqlite", 'CREATE TABLE "t\u202e" (a INTEGER)')
    with pytest.raises(CannotTell, match="cannot be published; rename it"):
        published_schema("sqlite", path)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("", "other"), ("varchar(20)", "str"), ("UNSIGNED BIG INT", "int"), ("HUGEINT", "int"),
        ("DOUBLE PRECISION", "float"), ("NUMERIC(10,5)", "float"), ("DATETIME", "datetime"),
        ("TIMESTAMP_NS", "datetime"), ("INTERVAL", "other"),
        ("TIME", "str"), ("DATE", "date"), ("UUID", "str"), ("BLOB", "other"), ("VARCHAR[]", "other"),
        ("STRUCT(a INTEGER)", "other"), ("ENUM('a[', 'INT')", "str"), ("GEOMETRY", "other"),
        ("boolean", "bool"),
    ],
)  # fmt: skip
def test_declared_types(declared: str, kind: str) -> None:
    assert type_of(declared) == kind


NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Cn", "Zl", "Zp", "Co")), min_size=1, max_size=12
).filter(lambda name: name == name.strip())


@given(
    st.dictionaries(
        st.one_of(NAMES, st.sampled_from(["yes", "Null", "1", "~", "a: b", "<<"])),
        st.sampled_from(["int", "other"]),
        min_size=1,
    )
)
def test_any_name_survives_the_file(columns: dict[str, str]) -> None:
    made = tuple(Column(name=name, type=kind) for name, kind in columns.items())  # type: ignore[arg-type]
    read = read_schema(names_and_types(Schema((Table("t", made),))).encode())
    assert read.schema is not None, read.problems
    assert [(column.name, column.type) for column in read.schema.tables[0].columns] == list(columns.items())
