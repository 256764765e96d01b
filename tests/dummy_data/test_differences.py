"""Warnings where dummy data are not as declared."""

import gzip
from pathlib import Path

import pytest

from jobrunner.dummy_data import Column, Table, blocks, differences, read_schema, warnings_for
from jobrunner.dummy_data.files import write_table

pytestmark = pytest.mark.unit

TABLE = Table(
    "cohort",
    (
        Column(name="id", type="int"),
        Column(name="sex", type="category", values=("F", "M"), weights=(1, 1)),
        Column(name="bmi", type="float"),
        Column(name="seen", type="date"),
    ),
)
HEADER = ["id", "sex", "bmi", "seen"]
LISTS = "Its columns are `id`, `sex`, `bmi`; declared are `id`, `sex`, `bmi`, `seen`."
ROW = ["1", "F", "20.5", "2020-01-01"]


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        (HEADER, [ROW, ["", "", "", ""], ["2", "M", "1e3", "2020-12-31"]], []),
        (HEADER[:3], [ROW[:3]], ["The column `seen` is declared, but", LISTS]),
        ([*HEADER[:3], "sen"], [ROW], ["`seen` is declared", "`sen`, which is not", "Its columns"]),
        (["sex", "id", "bmi", "seen"], [["F", "1", "2", "2020-01-01"]], ["in another order", "`sex`, `id`"]),
        (["id", "id", "sex", "bmi", "seen"], [], ["Two columns", "Its columns are `id`, `id`, `sex`"]),
        (HEADER, [ROW, ["x", "F", "2", "2020-01-01"]], ["`id` is declared int, but row 2 has `x`."]),
        (HEADER, [["1", "U", "2", "2020-01-01"]], ["`sex` does not declare `U`, which row 1 has."]),
        (HEADER, [["1", "F", "two", "1/2/2020"]], ["`bmi` is declared float", "`seen` is declared date"]),
        (HEADER, [["x", "F", "2", "2020-01-01"]] * 3, ["`id` is declared int, but row 1"]),
        (HEADER, [ROW, ["1"]], ["Row 2 has 1 values"]),
    ],
)  # fmt: skip
def test_differences(header: list[str], rows: list[list[str]], told: list[str]) -> None:
    found = differences(TABLE, header, rows)
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


SCHEMA = (
    "version: 1\ntables:\n  cohort:\n    columns:\n"
    "      id: {type: int, unique: true}\n      seen: datetime\n"
)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("schema_name", ["cohort.schema.yaml", "schema.yaml"])
def test_what_was_drawn_from_a_schema_is_as_it_declares(
    tmp_path: Path, suffix: str, schema_name: str
) -> None:
    (tmp_path / schema_name).write_text(SCHEMA)
    read = read_schema(SCHEMA.encode())
    assert read.schema is not None
    dummy = tmp_path / f"cohort{suffix}"
    write_table(read.schema.tables[0], blocks(read.schema, "cohort", 50, 1), dummy)
    assert warnings_for(dummy) == ()
    (tmp_path / schema_name).write_text(SCHEMA.replace("seen", "seen_on"))
    missing, beyond, lists = warnings_for(dummy)
    assert "`seen_on` is declared" in missing
    assert f"{dummy} is not as {tmp_path / schema_name} declares" in beyond
    assert "Its columns are `id`, `seen`; declared are `id`, `seen_on`." in lists
    assert f"cohort{suffix} is not as {schema_name} declares: " in warnings_for(Path(dummy.name), tmp_path)[0]
    assert not any(str(tmp_path) in warning for warning in warnings_for(Path(dummy.name), tmp_path))


def test_without_a_schema_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("a\n1\n")
    assert warnings_for(tmp_path / "cohort.csv") == ()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("cohort.csv", b"\xff\xfe", "could not be compared"),
        ("cohort.csv.gz", b"id,seen\n", "could not be compared"),
        ("cohort.csv.gz", gzip.compress(b"id,seen\n" * 99, mtime=0)[:-12], "could not be compared"),
        ("cohort.csv", b"", "is declared, but"),
    ],
)
def test_what_cannot_be_read_is_a_warning(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / "cohort.schema.yaml").write_text(SCHEMA)
    (tmp_path / name).write_bytes(content)
    assert part in warnings_for(tmp_path / name)[0]


def test_a_schema_with_mistakes_is_a_warning_and_one_without_the_table_is_none(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("a\n1\n")
    (tmp_path / "schema.yaml").write_text("version: 1\n")
    assert "has mistakes" in warnings_for(tmp_path / "cohort.csv")[0]
    (tmp_path / "schema.yaml").write_text(SCHEMA.replace("cohort", "other"))
    assert warnings_for(tmp_path / "cohort.csv") == ()
