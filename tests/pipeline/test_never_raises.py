"""No input raises: bytes, text, YAML that looks like a study, mutated real files."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.cli.check_github import as_annotations
from jobrunner.cli.check_text import as_text
from jobrunner.pipeline import Loaded, load, run_all_order
from jobrunner.pipeline.reporting import as_data
from jobrunner.pipeline.words import OpenQuoteError, split_words
from tests.pipeline.test_semantics import INVALID, VALID

pytestmark = pytest.mark.unit


def check(data: bytes) -> None:
    """Load, and require of the result what holds for every input."""
    loaded = load(data)
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    assert loaded.valid == (not errors)
    for problem in loaded.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message.isprintable()
    places = [(problem.line, problem.column, problem.id, problem.message) for problem in loaded.problems]
    assert places == sorted(places)
    json.dumps(as_data(loaded), allow_nan=False).encode()
    check_shown(data, loaded)
    if loaded.pipeline is not None:
        run_all_order(loaded.pipeline.actions)
        for action in loaded.pipeline.actions.values():
            assert all(isinstance(word, str) for word in action.command())


def check_shown(data: bytes, loaded: Loaded) -> None:
    """What a person sees: one line for each problem that begins with the file, all else indented."""
    lines = as_text("f", loaded.problems, data).split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert sum(not line.startswith("  ") for line in lines) == len(loaded.problems)
    assert as_annotations("f", loaded.problems).count("\n") == len(loaded.problems)


def test_a_suggestion_shows_what_does_not_print() -> None:
    check(
        "version: '5.0'\nactions:\n"
        "  '\ufeffextract': {run: 'r:v2 a.R', outputs: {highly_sensitive: {x: a.csv}}}\n"
        "  model: {run: 'r:v2 b.R', needs: [extract], outputs: {highly_sensitive: {x: b.csv}}}\n".encode()
    )


@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    check(data)


@given(st.text(max_size=200))
def test_text(text: str) -> None:
    check(text.encode("utf-8", "replace"))


#: Pieces that YAML gives a meaning to.
SIGNS = st.sampled_from(
    [
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        " ",
        ": ",
        ":",
        "- ",
        "? ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "*a ",
        "!x ",
        "!!int ",
        "!!map ",
        "<<: ",
        "'",
        '"',
        "|\n",
        ">-\n",
        "# ",
        "%YAML 1.1\n",
        "---",
        "...",
        "\r",
        "\\",
        "~",
        ".nan",
        "1e999",
        "actions",
        "version: 5\n",
        "run",
        "needs",
        "outputs",
        "config",
        "highly_sensitive",
        "a.csv",
        "r:v2 a",
        "é",
        "\ufeff",
    ]
)


@settings(max_examples=400)
@given(st.lists(SIGNS, max_size=30).map("".join))
def test_yaml_signs(text: str) -> None:
    check(text.encode())


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "r:v2 a.R",
            "ehrql:v1 generate-dataset --output x:csv",
            "a",
            "b",
            "a b",
            "'",
            "out/*.csv",
            "../x",
            "metadata/a.csv",
            "**",
            "run_all",
            "cohortextractor:latest generate_cohort",
            ":v1",
            "é:v1",
        ]
    ),
)
KEY = st.one_of(
    st.sampled_from(
        [
            "version",
            "actions",
            "expectations",
            "population_size",
            "run",
            "needs",
            "outputs",
            "config",
            "a",
            "b",
            "run_all",
            "highly_sensitive",
            "moderately_sensitive",
            "minimally_sensitive",
            "dummy_data_file",
            "<<",
        ]
    ),
    LEAF,
)
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=5), max_leaves=25
)

LEVELS = st.dictionaries(
    st.sampled_from(["highly_sensitive", "moderately_sensitive", "minimally_sensitive", "other"]),
    st.dictionaries(LEAF, LEAF, max_size=3) | LEAF,
    max_size=3,
)
ACTION = st.fixed_dictionaries(
    {},
    optional={
        "run": LEAF,
        "outputs": LEVELS | TREE,
        "needs": st.lists(LEAF, max_size=3) | LEAF,
        "config": TREE,
        "x": LEAF,
    },
)
STUDY = st.fixed_dictionaries(
    {
        "version": st.sampled_from([1, 2, 3, 3.5, 4, 5, "5.0", 6, None]),
        "actions": st.dictionaries(KEY, ACTION | TREE, max_size=4),
    },
    optional={"expectations": TREE},
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(TREE | STUDY, st.booleans())
def test_trees(tree: object, flow: bool) -> None:
    check(
        yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True, sort_keys=False).encode(
            "utf-8", "replace"
        )
    )


@settings(max_examples=300)
@given(
    st.sampled_from([VALID, INVALID]),
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 6), SIGNS | st.text(max_size=3)), min_size=1, max_size=4
    ),
)
def test_changed_files(text: str, changes: list[tuple[int, int, str]]) -> None:
    for place, length, new in changes:
        text = text[:place] + new + text[place + length :]
    check(text.encode("utf-8", "replace"))


@given(st.lists(st.text(max_size=6), max_size=6))
def test_quoted_words_come_back(words: list[str]) -> None:
    """Whatever a word holds, quoting it by the rules gives it back."""
    text = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)

    assert split_words(text) == tuple(words)


@given(st.text(alphabet="ab'\"\\ \t\n", max_size=20))
def test_splitting_gives_words_or_an_open_quote(text: str) -> None:
    try:
        words = split_words(text)
    except OpenQuoteError:
        return
    assert sum(map(len, words)) <= len(text)
