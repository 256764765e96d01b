"""A file means the same however it is written: line ends, byte order mark, style, quotes, comments."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobrunner.pipeline import load
from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.nodes import Plainer
from jobrunner.pipeline.reporting import as_data
from tests.pipeline.examples import build
from tests.pipeline.rule_rows import ROWS, Row
from tests.pipeline.test_semantics import INVALID, VALID

pytestmark = pytest.mark.unit

#: Rows about line ends or the very beginning of the file, which change with it.
_ABOUT_TEXT = {"PY002", "PS001", "PS005"}


def places(data: bytes) -> list[tuple[str, int, int, str | None]]:
    return [(p.id, p.line, p.column, p.action) for p in load(data).problems]


def meaning(data: bytes) -> dict[str, Any]:
    found = as_data(load(data))
    del found["problems"]
    return found


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.rule not in _ABOUT_TEXT], ids=lambda row: f"{row.rule}-{row.reported}"
)
def test_line_ends_and_a_byte_order_mark_change_nothing(row: Row, end: str) -> None:
    wrong = build(*row.wrong)
    other = b"\xef\xbb\xbf" + wrong.replace(b"\n", end.encode())

    assert places(other) == places(wrong)


@pytest.mark.parametrize("text", [VALID, INVALID])
def test_marks_comments_and_space_at_line_ends_change_nothing(text: str) -> None:
    lines = text.rstrip("\n").split("\n")
    inside = next(number for number, line in enumerate(lines) if line.endswith(">")) if ">" in text else -9
    decorated = [
        line if number in (inside, inside + 1, inside + 2) else f"{line} \t # é: [{{'"
        for number, line in enumerate(lines)
    ]
    marked = "\n".join(["---", *decorated, "...", "# the end", ""]).encode()

    assert meaning(marked) == meaning(text.encode())
    assert places(marked) == [(rule, line + 1, *rest) for rule, line, *rest in places(text.encode())]


STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "default_style": st.sampled_from([None, '"', "'"]),
        "width": st.sampled_from([10, 20, 80, 10_000]),
        "indent": st.sampled_from([2, 3, 9]),
        "allow_unicode": st.booleans(),
        "line_break": st.sampled_from(["\n", "\r\n", "\r"]),
        "explicit_start": st.booleans(),
    }
)
WORDS = st.text(alphabet="ab :#-?'\"\\[]{}&*!|>%@`é\t,", max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), STYLES)
def test_style_and_quotes_change_nothing(words: list[str], style: dict[str, Any]) -> None:
    """What another program writes is read back as it was, whatever style it chose."""
    action = {
        "run": f"r:v2 {json.dumps(words[0])}",
        "outputs": {
            "highly_sensitive": {f"{number} {word}": f"{number}.csv" for number, word in enumerate(words)}
        },
        "config": {"words": words, "5": [5, 5.5, True, None, "5", "true", "null", "~", "2020-01-01"]},
    }
    study = {"version": "5.0", "actions": {"a": action}}
    text = yaml.safe_dump(study, sort_keys=False, **style).encode()

    # PyYAML folds some lines in quotes so that no reader gives them back.
    assume(yaml.safe_load(text) == study)
    root, problems = read_tree(text)

    assert problems == []
    assert root is not None
    assert Plainer().value(root) == study
