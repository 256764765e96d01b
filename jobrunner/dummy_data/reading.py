"""A schema file to a `Schema`, or to all that is wrong with it, each with its place and how to mend it.

The text is YAML, read by the reader of project.yaml with its budgets (threats.md section 8, row J), so no
input raises anything or takes long. Ids of problems: those of that reader (PY..., PS...), and the words in
`docs/dummy-data.md`.
"""

import math
from dataclasses import dataclass
from typing import Final

from jobrunner.dummy_data.checking import Reporter
from jobrunner.dummy_data.columns import DraftColumn, read_column
from jobrunner.dummy_data.links import resolve_links
from jobrunner.dummy_data.schema import MOST_TIMES, Schema, Table
from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.model import Problem
from jobrunner.pipeline.nodes import FLOAT, INTEGER, MAPPING, NULL, Node

VERSION: Final = 1
_TOP: Final = ("version", "tables")
_TABLE: Final = ("times", "columns")


@dataclass(frozen=True, slots=True)
class Read:
    """What was found: `problems` by line and column, and the schema only where there are none."""

    schema: Schema | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class DraftTable:
    """A table as far as it could be read; `name_node` is where its name stands."""

    name: str
    name_node: Node
    columns: tuple[DraftColumn, ...]
    times: float


def read_schema(data: bytes) -> Read:
    """Read a schema file. Never raises, whatever the bytes are."""
    root, found = read_tree(data)
    findings = Findings(found)
    if root is None:
        return Read(None, findings.sorted())
    report = Reporter(findings)
    drafts = _read_top(root, report)
    tables = resolve_links(
        {draft.name: (draft.times, {column.name: column for column in draft.columns}) for draft in drafts},
        report,
    )
    problems = findings.sorted()
    if problems:
        return Read(None, problems)
    times = {draft.name: draft.times for draft in drafts}
    return Read(Schema(tuple(Table(name, columns, times[name]) for name, columns in tables.items())), ())


def _read_top(root: Node, report: Reporter) -> tuple[DraftTable, ...]:
    if root.kind is NULL:
        report.at(root, "missing_key", "The file is empty. Start with `version: 1` and `tables`.")
        return ()
    if root.kind is not MAPPING:
        what = root.describe()
        report.at(root, "wrong_shape", f"The file is {what}. It must have the keys `version` and `tables`.")
        return ()
    report.unknown_keys(root, _TOP, "the file")
    _check_version(root, report)
    tables = report.needed(root, "tables", "the file", "Add it, with a table in it.")
    if tables is None or not report.is_mapping(tables, "`tables`", "Write `NAME:` and its columns below."):
        return ()
    if not tables.entries and not tables.left_out:
        report.at(tables, "missing_key", "`tables` holds no table. Add one.")
    return tuple(_read_table(key, value, report) for key, value in tables.entries.values())


def _check_version(root: Node, report: Reporter) -> None:
    version = report.needed(root, "version", "the file", f"Add `version: {VERSION}`.")
    if version is not None and (version.kind is not INTEGER or version.value != VERSION):
        said = version.describe()
        report.at(version, "bad_value", f"`version` is {said}. Write `version: {VERSION}`.")


def _read_table(key: Node, value: Node, report: Reporter) -> DraftTable:
    name = key.text
    what = report.name(key, "table")
    empty = DraftTable(name, key, (), 1.0)
    if not report.is_mapping(value, what, "Write `columns:` below it."):
        return empty
    report.unknown_keys(value, _TABLE, what)
    times = _read_times(value, what, report)
    columns = report.needed(value, "columns", what, "Add it, with a column in it.", at=key)
    if columns is None or not report.is_mapping(
        columns, f"`columns` of {what}", "Write `NAME: TYPE` for each."
    ):
        return empty
    if not columns.entries and not columns.left_out:
        report.at(columns, "missing_key", f"{what} has no column. Add one.")
    made = tuple(read_column(name, place, node, report) for place, node in columns.entries.values())
    return DraftTable(name, key, made, times)


def _read_times(table: Node, what: str, report: Reporter) -> float:
    node = table.entries["times"][1] if "times" in table.entries else None
    if node is None:
        return 1.0
    good = node.kind in (INTEGER, FLOAT) and 0 < node.value <= MOST_TIMES and math.isfinite(node.value)
    if not good:
        report.at(
            node,
            "bad_value",
            f"`times` of {what} is {node.describe()}. It says how many rows this table has for each that is "
            f"asked for: write a number above 0, up to {MOST_TIMES}.",
        )
        return 1.0
    return float(node.value)
