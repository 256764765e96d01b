"""Columns that depend on others: `refers_to` another table, `after` a column above."""

from collections.abc import Mapping
from dataclasses import replace

from jobrunner.dummy_data.checking import Reporter
from jobrunner.dummy_data.columns import DraftColumn
from jobrunner.dummy_data.schema import Column, Reference
from jobrunner.pipeline.wording import quote

Drafts = Mapping[str, tuple[float, Mapping[str, DraftColumn]]]
"""Name of a table -> how many times the rows it has, and its columns by name."""


def resolve_links(drafts: Drafts, report: Reporter) -> dict[str, tuple[Column, ...]]:
    """The columns of each table, with every name looked up; what is wrong is reported."""
    # Looked up by the whole text, since names may have dots in them.
    targets: dict[str, list[Reference]] = {}
    for table, (_, columns) in drafts.items():
        for name in columns:
            targets.setdefault(f"{table}.{name}", []).append(Reference(table, name))
    made: dict[str, tuple[Column, ...]] = {}
    for table, (_, columns) in drafts.items():
        above: dict[str, DraftColumn] = {}
        found = []
        for draft in columns.values():
            _check_after(table, draft, above, report)
            found.append(_refer(table, draft, drafts, targets, report))
            above[draft.name] = draft
        made[table] = tuple(found)
    return made


def _check_after(table: str, draft: DraftColumn, above: Mapping[str, DraftColumn], report: Reporter) -> None:
    after = draft.column.after
    if after is None or "after" not in draft.nodes:
        return
    kind = draft.column.type
    known = [name for name, other in above.items() if other.column.type == kind]
    if after not in known:
        hint = report.hint(after, known)
        report.at(
            draft.nodes["after"],
            "unknown_column",
            f"`after` of column {quote(draft.name)} of table {quote(table)} names {quote(after)}, but no "
            f"column of type `{kind}` above it has this name."
            f"{hint or ' Correct the name, or move that column up.'}",
        )


def _refer(
    table: str, draft: DraftColumn, drafts: Drafts, targets: Mapping[str, list[Reference]], report: Reporter
) -> Column:
    if draft.refers_to is None:
        return draft.column
    node, what = draft.nodes["refers_to"], f"column {quote(draft.name)} of table {quote(table)}"
    for name in ("min", "max", "length", "prefix"):
        if name in draft.nodes:
            report.at(
                draft.nodes[name], "bad_key", f"`{name}` of {what} does not go with `refers_to`. Remove one."
            )
    found = targets.get(draft.refers_to, [])
    if len(found) != 1:
        mend = report.hint(draft.refers_to, tuple(targets)) or " Write `TABLE.COLUMN`."
        many = "is two columns" if found else "is no column of this file"
        report.at(node, "unknown_column", f"`refers_to` of {what}: {quote(draft.refers_to)} {many}.{mend}")
        return draft.column
    reference = found[0]
    target = drafts[reference.table][1][reference.column]
    shown = quote(draft.refers_to)
    if not target.column.unique or target.refers_to is not None:
        report.at(
            node,
            "bad_key",
            f"`refers_to` of {what}: {shown} must be `unique: true` and refer to nothing itself. "
            "Change that, or name another column.",
        )
    elif target.column.type != draft.column.type:
        report.at(
            node,
            "bad_key",
            f"`refers_to` of {what}: {shown} is of type `{target.column.type}`. Give both the same type.",
        )
    elif draft.column.unique and drafts[table][0] > drafts[reference.table][0]:
        report.at(
            node,
            "bad_key",
            f"`refers_to` of {what}: this table has more rows than {quote(reference.table)}, so its values "
            "cannot be unique. Lower `times`, or remove `unique`.",
        )
    return replace(draft.column, refers_to=reference)
