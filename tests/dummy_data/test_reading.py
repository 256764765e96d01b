"""Schema files: what is read from a good one, and what a bad one is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.dummy_data import CannotDraw, blocks, read_schema
from jobrunner.dummy_data.schema import Column, Schema, Table

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs" / "dummy-data.md"


def schema_of(columns: str, more: str = "") -> str:
    """A file with the table `t` with these columns, each on a line."""
    lines = "".join(f"      {line}\n" for line in columns.splitlines())
    return f"version: 1\ntables:\n  t:\n    columns:\n{lines}{more}"


PARENT = "  p:\n    times: 0.5\n    columns:\n      id: {type: int, unique: true}\n      x: int\n"

# Columns of `t`, tables after it, and what is told: line, column, id, part of the message.
FAULTS = [
    ("a: integer", "", 5, 10, "unknown_type", "Did you mean `int`?"),
    ("a: 3", "", 5, 10, "unknown_type", "is the number `3`"),
    ("a: [int]", "", 5, 10, "unknown_type", "is a list"),
    ("a: {min: 1}", "", 5, 7, "missing_key", "`type` is missing from column `a` of table `t`"),
    ("a: {type: int, mim: 1}", "", 5, 22, "unknown_key", "Did you mean `min`?"),
    ("a: {type: bool, min: 1}", "", 5, 23, "unused_key", "means nothing for the type `bool`"),
    ("a: {type: int, min: 1.5}", "", 5, 27, "bad_value", "Write a whole number"),
    ("a: {type: int, max: 9223372036854775808}", "", 5, 27, "bad_value", "from -9223372036854775808"),
    ("a: {type: int, min: 9, max: 3}", "", 5, 35, "bad_range", "from `min` 9 to `max` 3"),
    ("a: {type: float, max: .inf}", "", 5, 29, "bad_value", "a number from"),
    ("a: {type: float, min: 0.01, max: 0.02, decimals: 1}", "", 5, 40, "bad_range", "with 1 decimals"),
    ("a: {type: bool, share: 2}", "", 5, 30, "bad_value", "a number from 0 to 1"),
    ("a: {type: str, length: 0}", "", 5, 30, "bad_value", "from 1 to 64"),
    ("a: {type: str, prefix: 7}", "", 5, 30, "bad_value", "in quotes"),
    ("a: category", "", 5, 10, "missing_key", "Write `values: [a, b]`"),
    ("a: {type: category}", "", 5, 7, "missing_key", "`values` is missing"),
    ("a: {type: category, values: []}", "", 5, 35, "bad_value", "is a list"),
    ("a: {type: category, values: [x, x]}", "", 5, 35, "bad_value", "each value once"),
    ("a: {type: category, values: {x: 0}}", "", 5, 35, "bad_value", "one of them above 0"),
    ("a: {type: category, values: {x: -1, y: 2}}", "", 5, 35, "bad_value", "a weight of 0 or more"),
    ("a: {type: date, min: yesterday}", "", 5, 28, "bad_value", "a date such as 2024-12-31"),
    ("a: {type: datetime, min: '2024-01-01T00:00:00Z'}", "", 5, 32, "bad_value", "2024-12-31T23:59:59"),
    ("a: {type: int, missing: 1.5}", "", 5, 31, "bad_value", "a number from 0 to 1"),
    ("a: {type: int, unique: yes}", "", 5, 30, "bad_value", "`true` or `false`"),
    ("a: {type: int, unique: true, missing: 0.1}", "", 5, 45, "bad_key", "does not go with `unique`"),
    ("a: {type: date, after: b}\nb: date", "", 5, 30, "unknown_column", "no column of type `date` above"),
    ("a: date\nb: {type: date, after: a, max: 2020-01-01}", "", 6, 38, "bad_key", "does not go with `after`"),
    ("a: {type: date, days: 3}", "", 5, 29, "bad_key", "Add `after`"),
    ("a: {type: int, refers_to: p.ids}", PARENT, 5, 33, "unknown_column", "Did you mean `p.id`?"),
    ("a: {type: int, refers_to: p.x}", PARENT, 5, 33, "bad_key", "must be `unique: true`"),
    ("a: {type: str, refers_to: p.id}", PARENT, 5, 33, "bad_key", "is of type `int`"),
    ("a: {type: int, refers_to: p.id, unique: true}", PARENT, 5, 33, "bad_key", "more rows than `p`"),
    ("a: {type: int, refers_to: p.id, min: 2}", PARENT, 5, 44, "bad_key", "does not go with `refers_to`"),
    ("'a ': int", "", 5, 7, "bad_name", "without blanks around"),
    ("a: int\na: str", "", 6, 7, "PY003", "already given on line 5"),
]


@pytest.mark.parametrize(("columns", "more", "line", "column", "word", "part"), FAULTS)
def test_a_fault_is_told_with_its_place_and_a_mend(
    columns: str, more: str, line: int, column: int, word: str, part: str
) -> None:
    read = read_schema(schema_of(columns, more).encode())
    assert read.schema is None
    (problem,) = read.problems
    assert (problem.line, problem.column, problem.id) == (line, column, word)
    assert part in problem.message


TOPS = [
    ("", 1, "missing_key", "Start with `version: 1`"),
    ("[]", 1, "wrong_shape", "It must have the keys"),
    ("tables: {t: {columns: {a: int}}}", 1, "missing_key", "Add `version: 1`"),
    ("version: 2\ntables: {t: {columns: {a: int}}}", 1, "bad_value", "Write `version: 1`"),
    ("version: 1", 1, "missing_key", "`tables` is missing"),
    ("version: 1\ntables: {}", 2, "missing_key", "holds no table"),
    ("version: 1\ntables: {t: }", 2, "wrong_shape", "is empty. Write `columns:`"),
    ("version: 1\ntables: {t: {}}", 2, "missing_key", "`columns` is missing from table `t`"),
    ("version: 1\ntables: {t: {columns: {}}}", 2, "missing_key", "has no column"),
    ("version: 1\ntables: {t: {columns: {a: int}, times: 0}}", 2, "bad_value", "a number above 0"),
    ("version: 1\ntables: {t: {columns: {a: int}, rows: 5}}", 2, "unknown_key", "`rows`"),
    ("version: 1\ntables: *x", 2, "PY001", "no anchor"),
]


@pytest.mark.parametrize(("text", "line", "word", "part"), TOPS)
def test_faults_above_the_columns_are_told(text: str, line: int, word: str, part: str) -> None:
    (problem,) = read_schema(text.encode()).problems
    assert (problem.line, problem.id) == (line, word)
    assert part in problem.message


def test_all_faults_are_told_at_once_in_order() -> None:
    read = read_schema(schema_of("a: integer\nb: {type: int, max: x}\nc: category").encode())
    assert [problem.line for problem in read.problems] == [5, 6, 7]


def test_every_id_is_in_the_docs() -> None:
    told = DOCS.read_text(encoding="utf-8")
    for word in {fault[4] for fault in FAULTS} | {top[2] for top in TOPS}:
        assert word.startswith(("PY", "PS")) or f"| `{word}` |" in told, word


def test_a_short_and_a_long_form_are_the_same() -> None:
    short, long = (read_schema(schema_of(text).encode()).schema for text in ("a: str", "a: {type: str}"))
    assert short == long == Schema((Table("t", (Column(name="a", type="str"),)),))


@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    assert read_schema(data).problems


KEYS = [
    "version", "tables", "t", "columns", "type", "min", "max", "values", "missing", "unique",
    "refers_to", "after", "days", "times", "share", "length", "prefix", "decimals",
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(["1", "0", "-3", "1e999", ".nan", "int", "str", "float", "date", "datetime", "category"]),
    st.sampled_from(["t.a", "a", "true", "2024-01-01", "9999-12-31", "''", "bool", "other", "0.5", "~"]),
    st.text(alphabet="ab{}[]:&*!%\"' ", max_size=5),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.dictionaries(st.sampled_from([*KEYS, "a", "b"]), inner, max_size=6).map(
            lambda entries: "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"
        ),
    ),
    max_leaves=25,
)


@given(TREES, st.integers(0, 50))
def test_no_tree_raises_and_what_is_read_can_be_drawn(tree: str, rows: int) -> None:
    for text in (f"version: 1\ntables: {tree}", f"version: 1\ntables: {{t: {{columns: {{a: {tree}}}}}}}"):
        read = read_schema(text.encode())
        assert (read.schema is None) == bool(read.problems)
        if read.schema is None:
            continue
        for table in read.schema.tables:
            try:
                drawn = list(blocks(read.schema, table.name, rows, 1))
            except CannotDraw:
                continue
            assert sum(len(block[0]) for block in drawn) == table.rows(rows)
