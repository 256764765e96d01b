"""Rows: that they keep to the schema, and that the same seed gives the same bytes."""

import gzip
import hashlib
import io
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.dummy_data import CannotDraw, Schema, blocks, read_schema
from jobrunner.dummy_data.files import BadSuffix, write_csv, write_table
from jobrunner.dummy_data.stored_gzip import StoredGzip

pytestmark = pytest.mark.unit

TEXT = """
version: 1
tables:
  patients:
    columns:
      id: {type: int, unique: true, min: 100}
      code: {type: str, unique: true, prefix: P-, length: 6}
      sex: {type: category, values: {F: 3, M: 1, never: 0}, missing: 0.2}
      bmi: {type: float, min: 15.05, max: 45, decimals: 1}
      age: {type: int, min: -2, max: 2}
      smoker: {type: bool, share: 0.25}
      note: {type: str, length: 30}
      born: {type: date, min: 1930-01-01, max: 1930-01-31}
      died: {type: date, after: born, days: 10, missing: 0.5}
      seen: {type: datetime, min: 2020-02-28T23:59:58, max: 2020-02-29}
      raw: other
  visits:
    times: 2.5
    columns:
      id: {type: int, refers_to: patients.id}
      code: {type: str, refers_to: patients.code, missing: 0.1}
  details:
    times: 0.5
    columns:
      id: {type: int, refers_to: patients.id, unique: true}
"""


def schema() -> Schema:
    read = read_schema(TEXT.encode())
    assert read.schema is not None, read.problems
    return read.schema


def columns(table: str, rows: int, seed: int = 1) -> dict[str, list[Any]]:
    found = schema()
    made: dict[str, list[Any]] = {column.name: [] for column in found.table(table).columns}
    for block in blocks(found, table, rows, seed):
        for name, values in zip(made, block, strict=True):
            made[name] += values
    return made


def csv_bytes(table: str, rows: int, seed: int) -> bytes:
    file = io.BytesIO()
    write_csv(schema().table(table), blocks(schema(), table, rows, seed), file)
    return file.getvalue()


def test_values_keep_to_the_schema() -> None:
    made = columns("patients", 5000)
    assert made["id"] == list(range(100, 5100))
    assert made["code"][0] == "P-000001"
    assert len(set(made["code"])) == 5000
    assert set(made["sex"]) == {"F", "M", None}
    assert 900 < made["sex"].count(None) < 1100
    assert 2.5 < made["sex"].count("F") / made["sex"].count("M") < 3.5
    assert (min(made["bmi"]), max(made["bmi"])) == (15.1, 45.0)
    assert set(made["age"]) == {-2, -1, 0, 1, 2}
    assert 1100 < made["smoker"].count(True) < 1400
    assert {len(text) for text in made["note"]} == {30}
    assert len(set(made["note"])) == 5000
    assert (min(made["born"]), max(made["born"])) == (date(1930, 1, 1), date(1930, 1, 31))
    waited = [(died - born).days for born, died in zip(made["born"], made["died"], strict=True) if died]
    assert set(waited) == set(range(11))
    assert set(made["seen"]) == {
        datetime.fromisoformat(f"2020-02-{rest}") for rest in ("28T23:59:58", "28T23:59:59", "29T00:00:00")
    }
    assert set(made["raw"]) == {None}


def test_keys_lead_to_rows_that_are_there() -> None:
    patients, visits, details = (columns(name, 400) for name in ("patients", "visits", "details"))
    assert len(visits["id"]) == 1000
    assert set(visits["id"]) < set(patients["id"])
    assert set(visits["code"]) - {None} < set(patients["code"])
    assert details["id"] == patients["id"][:200]


def test_nothing_is_referred_to_where_nothing_is() -> None:
    read = read_schema(
        TEXT.replace("times: 2.5", "times: 3")
        .replace("times: 0.5", "times: 0.4")
        .replace("patients:\n", "patients:\n    times: 0.4\n")
        .encode()
    )
    assert read.schema is not None
    ((ids, _),) = blocks(read.schema, "visits", 1, 1)
    assert ids == [None, None, None]


# What these bytes are is a promise: a colleague with the same schema and seed has the same file.
PROMISED = {
    "patients": "091539ac3bf4cdcdae76ef46a81830fb7b21a32f028da633c734386daf3c524a",
    "visits": "cff5c478ae227379e11870ad8693f271963397249652e8f017dede37392751d7",
}


@pytest.mark.parametrize("table", PROMISED)
def test_the_same_seed_gives_the_same_bytes_for_ever(table: str) -> None:
    assert hashlib.sha256(csv_bytes(table, 5000, 7)).hexdigest() == PROMISED[table]


def test_another_seed_gives_other_rows() -> None:
    assert csv_bytes("patients", 10, 1) != csv_bytes("patients", 10, 2)


def test_fewer_rows_are_the_first_ones() -> None:
    assert csv_bytes("patients", 5000, 1).startswith(csv_bytes("patients", 4097, 1))


def test_a_column_less_changes_no_other_one() -> None:
    without = TEXT.replace("      age: {type: int, min: -2, max: 2}\n", "")
    read = read_schema(without.encode())
    assert read.schema is not None
    (block,) = blocks(read.schema, "patients", 50, 1)
    names = [column.name for column in read.schema.table("patients").columns]
    made = columns("patients", 50)
    assert dict(zip(names, block, strict=True)) == {name: made[name] for name in names}


def test_more_rows_than_keys_are_refused() -> None:
    text = TEXT.replace("length: 6", "length: 2")
    read = read_schema(text.encode())
    assert read.schema is not None
    with pytest.raises(CannotDraw, match="column code of table patients has 99 unique values, but 100 rows"):
        blocks(read.schema, "patients", 100, 1)
    with pytest.raises(CannotDraw, match="column code of table patients"):
        blocks(read.schema, "visits", 100, 1)
    assert len(list(blocks(read.schema, "patients", 99, 1))) == 1


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_a_stored_gzip_is_read_by_everybody_and_does_not_depend_on_the_cuts(parts: list[bytes]) -> None:
    files = []
    for cut in (parts, [b"".join(parts)]):
        file = io.BytesIO()
        with StoredGzip(file) as packed:
            for part in cut:
                packed.write(part)
        files.append(file.getvalue())
    assert files[0] == files[1]
    assert gzip.decompress(files[0]) == b"".join(parts)
    # No name, no time, and no word on the machine.
    assert files[0][:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_files_by_their_suffix(tmp_path: Path) -> None:
    table = schema().table("visits")
    for name in ("a/b/x.csv", "x.csv.gz"):
        write_table(table, blocks(schema(), "visits", 20, 1), tmp_path / name)
    plain = (tmp_path / "a" / "b" / "x.csv").read_bytes()
    assert plain == csv_bytes("visits", 20, 1)
    assert gzip.decompress((tmp_path / "x.csv.gz").read_bytes()) == plain
    for name in ("x.txt", ".csv", "x.parquet"):
        with pytest.raises(BadSuffix):
            write_table(table, blocks(schema(), "visits", 20, 1), tmp_path / name)
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "b", "x.csv", "x.csv.gz"}
