"""Patterns against paths, and the set of patterns that prunes a walk."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.pipeline import PatternSet, literal_parent, matches

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a.csv", "a.csv"),
        ("out/*.csv", "out/a.csv"),
        ("out/*.csv", "out/.csv"),
        ("out/*.csv", "out/.hidden.csv"),
        ("*/x*y*.csv", "a/xaybz.csv"),
        ("a*b*b", "abb"),
        ("*", "anything"),
        ("~/$HOME.csv", "~/$HOME.csv"),
        ("a*.csv", "a\n.csv"),
    ],
)
def test_matches(pattern: str, path: str) -> None:
    assert matches(pattern, path)
    assert PatternSet([pattern]).matching(path) == (pattern,)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a.csv", "A.csv"),
        ("out/*.csv", "out/sub/a.csv"),
        ("*.csv", "out/a.csv"),
        ("out/a.csv", "out/a.csv/b"),
        ("a?.csv", "ab.csv"),
        ("[ab].csv", "a.csv"),
        ("a*a", "a"),
        ("a*b*b", "ab"),
        ("**/a.csv", "a.csv"),
        ("*/a.csv", "metadata/a.csv"),
        ("meta*/a.csv", "MetaData/a.csv"),
        ("*", "metadata"),
    ],
)
def test_does_not_match(pattern: str, path: str) -> None:
    assert not matches(pattern, path)
    assert PatternSet([pattern]).matching(path) == ()


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("a.csv", ""),
        ("out/a.csv", "out"),
        ("out/sub/*.csv", "out/sub"),
        ("out/*/a.csv", "out"),
        ("*/a/b.csv", ""),
    ],
)
def test_literal_parent(pattern: str, folder: str) -> None:
    assert literal_parent(pattern) == folder


def test_could_contain() -> None:
    patterns = PatternSet(["out/t_*/x.csv", "a.csv", "raw/b.csv"])

    assert patterns.could_contain("")
    assert patterns.could_contain("out")
    assert patterns.could_contain("out/t_1")
    assert patterns.could_contain("raw")
    assert not patterns.could_contain("out/t_1/x.csv")
    assert not patterns.could_contain("out/u")
    assert not patterns.could_contain("a.csv")
    assert not patterns.could_contain("metadata")
    assert not PatternSet(["*/a.csv"]).could_contain("METADATA")
    assert not PatternSet([]).could_contain("")


def test_matching_keeps_the_order_and_repeats() -> None:
    assert PatternSet(["*.csv", "b*", "a.csv", "*.csv"]).matching("a.csv") == ("*.csv", "a.csv", "*.csv")


SEGMENT = st.text(alphabet="ab*", min_size=1, max_size=5)
NAME = st.text(alphabet="ab", min_size=1, max_size=6)


@given(
    st.lists(st.lists(SEGMENT, min_size=1, max_size=3).map("/".join), max_size=6),
    st.lists(NAME, min_size=1, max_size=3),
)
def test_agrees_with_a_regular_expression(patterns: list[str], names: list[str]) -> None:
    path = "/".join(names)
    expected = tuple(p for p in patterns if re.fullmatch(re.escape(p).replace(r"\*", "[^/]*"), path))

    assert tuple(p for p in patterns if matches(p, path)) == expected
    assert PatternSet(patterns).matching(path) == expected
    for end in range(len(names)):
        if expected:
            assert PatternSet(patterns).could_contain("/".join(names[:end]))
