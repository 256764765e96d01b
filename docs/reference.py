"""Writes docs/errors.md and the tables in docs/language.md, from rules.toml, the tests' rows and the code.

    python -m docs.reference        from the top of the repository

Every message on the pages is one that a check gave for the example beside it. A test fails while the
committed pages differ from what is written here.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jobrunner.pipeline import LEVELS, RETIRED_RUNTIMES, RUNTIMES, load
from jobrunner.pipeline.reading import MAX_DEPTH, MAX_NODES
from jobrunner.pipeline.rules_actions import MAX_ID
from jobrunner.pipeline.rules_outputs import MAX_PATTERN_BYTES, REVIEWABLE
from jobrunner.pipeline.text import MAX_BYTES
from jobrunner.pipeline.words import MAX_IMAGE_NAME, MAX_WORD_BYTES, MAX_WORDS
from tests.pipeline.examples import EXTRACT, MODEL, Change, build
from tests.pipeline.rule_rows import ROWS, Row

FOLDER = Path(__file__).parent

_START = """\
# Every message and what to do about it

This page is written by `python -m docs.reference`; a test compares them. The rules themselves are told in
[language.md](language.md).

Every problem has an id that never changes its meaning, so that it can be looked up here and in old logs.

| Ids | What they are about | Where they come up |
|---|---|---|
| PY | the format: every reader of it refuses (or warns of) the same | `jobrunner check`, a request |
| PS | strictness: this reader refuses or warns on purpose where another may be content | the same |
| SF | files that the folder lacks | `jobrunner check` of a folder; always warnings |
| RQ | a request as a whole | `jobrunner request`, the controller |
| RA | a reusable action that a request uses | `jobrunner request`, the controller, `jobrunner run` |

A file with an error is refused; a warning changes nothing. Examples show the lines that differ from a file
that is right. What a job itself can run into is told in [job-states.md](job-states.md).
"""

_ACTIONS = "actions:\n  model:\n    run: r:v2 analysis/model.R\n    # and so on"


def errors_page() -> str:
    """The whole text of errors.md."""
    table = _table()
    rows = _rows()
    parts = [_START]
    for title, kind in (("The format (PY)", "format"), ("Strictness (PS)", "strict")):
        parts.append(f"## {title}\n")
        for section, rules in table[kind].items():
            parts.append(f"### {section}\n")
            parts += [_rule(rule, when, rows[rule], table["shown"].get(rule)) for rule, when in rules.items()]
    for title, kind in (
        ("The folder (SF)", "folder"),
        ("Requests (RQ)", "request"),
        ("Reusable actions (RA)", "reusable"),
    ):
        parts.append(f"## {title}\n")
        if kind == "reusable":
            parts.append(
                "Each message begins with the action and what it uses: ``Action `model` uses `foo:v9`:``\n"
            )
        parts += [_entry(rule, **entry) for rule, entry in table[kind].items()]
    return "\n".join(parts)


def language_page(page: str) -> str:
    """language.md with its marked tables written anew; what stands outside of the marks stays."""
    tables = {
        "levels": _bullets(LEVELS),
        "runtimes": f"{_list(RUNTIMES)}. Retired: {_list(RETIRED_RUNTIMES)}.\n",
        "types": f"{_list(REVIEWABLE)}.\n",
        "limits": _limits(),
        "rules": _rule_tables(),
    }
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        if page.count(start) != 1:
            raise ValueError(f"language.md has {page.count(start)} places for the table {name}")
        before, _, rest = page.partition(start)
        page = before + start + table + end + rest.partition(end)[2]
    return page


def _table() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "rules.toml").read_text("utf-8"))


def _rows() -> dict[str, Row]:
    """The first row of each rule."""
    return {row.rule: row for row in reversed(ROWS)}


def severity_and_message(row: Row) -> tuple[str, str]:
    """What a check says of the wrong form."""
    found = next(problem for problem in load(build(*row.wrong)).problems if problem.id == row.rule)
    return found.severity, found.message


def _rule(rule: str, when: str, row: Row, shown: dict[str, str] | None) -> str:
    severity, message = severity_and_message(row)
    wrong = shown["wrong"] if shown else _lines(row.wrong)
    right = shown["right"] if shown else _lines(row.right or _of_base(row.wrong))
    mended = f"```yaml\n{right}\n```" if right else "Leave that out."
    lines = (
        f"#### {rule}\n",
        f"{severity.capitalize()}. {when}\n",
        f"```yaml\n{wrong}\n```\n",
        f"> {message}\n",
        f"Right:\n\n{mended}\n",
    )
    return "\n".join(lines)


def _entry(rule: str, when: str, message: str, mend: str) -> str:
    return f"#### {rule}\n\n{when}\n\n> {message}\n\n{mend}\n"


def _lines(changes: Iterable[Change]) -> str:
    """The lines of an example, those of an action under its id."""
    shown: list[str] = []
    place = "top"
    for where, text in changes:
        if where in ("model", "extract") and where != place:
            shown.append(f"{where}:")
        place = where
        indent = "  " if where in ("model", "extract") else ""
        kept = [line.removeprefix("+") for line in text.strip("\n").split("\n") if not line.startswith("-")]
        shown += [indent + line for line in kept] if where != "file" else text.strip("\n").split("\n")
    return "\n".join(shown)


def _of_base(changes: Iterable[Change]) -> list[Change]:
    """The lines of the base file that stand where these changes are; nothing for keys that it lacks."""
    if any(where == "file" for where, _ in changes):
        return [("top", f"version: '5.0'\n{_ACTIONS}")]
    base = {"model": MODEL, "extract": EXTRACT, "top": {"version": "'5.0'"}}
    kept: list[Change] = []
    for where, text in changes:
        for line in text.split("\n"):
            key = line.lstrip("+-").split(":", 1)[0]
            value = base.get(where, {}).get(key)
            if value is not None and (where, f"{key}: {value}") not in kept:
                kept.append((where, f"{key}: {value}"))
            elif (where, key) == ("top", "actions"):
                kept.append(("top", _ACTIONS))
    return kept


def _list(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in sorted(texts))


def _bullets(texts: Iterable[str]) -> str:
    return "".join(f"- `{text}`\n" for text in texts)


def _limits() -> str:
    limits = (
        ("the file", f"{MAX_BYTES:,} bytes", "PS001"),
        ("lists and mappings in each other", f"{MAX_DEPTH} levels", "PS002"),
        ("keys, values and entries, aliases expanded", f"{MAX_NODES:,}", "PS003"),
        ("an action id", f"{MAX_ID} characters", "PS020"),
        ("an image name", f"{MAX_IMAGE_NAME} characters", "PS033"),
        ("words of a command", f"{MAX_WORDS}", "PS036"),
        ("one word of a command", f"{MAX_WORD_BYTES:,} bytes", "PS036"),
        ("a path of an output", f"{MAX_PATTERN_BYTES:,} bytes", "PS043"),
    )
    rows = "".join(f"| {what} | {most} | {_link(rule)} |\n" for what, most, rule in limits)
    return f"| What | At most | Else |\n|---|---|---|\n{rows}"


def _rule_tables() -> str:
    table, rows = _table(), _rows()
    parts: list[str] = []
    for kind, name in (("format", "PY"), ("strict", "PS")):
        for section, rules in table[kind].items():
            parts.append(f"### {section} ({name})\n\n| Id | | Reported when |\n|---|---|---|\n")
            for rule, when in rules.items():
                parts.append(f"| {_link(rule)} | {severity_and_message(rows[rule])[0]} | {when} |\n")
            parts.append("\n")
    return "".join(parts)[:-1]


def _link(rule: str) -> str:
    return f"[{rule}](errors.md#{rule.lower()})"


def write() -> None:
    """Write both pages."""
    (FOLDER / "errors.md").write_text(errors_page(), encoding="utf-8")
    page = FOLDER / "language.md"
    page.write_text(language_page(page.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
