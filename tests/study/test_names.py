from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobrunner.study import TreeRefused
from jobrunner.study.names import check_name, collision_key

pytestmark = pytest.mark.unit


GOOD = [
    *("project.yaml", ".gitignore", ".github", ".gitmodules", "metadata", "a b.csv", "r\u00e9sum\u00e9.R"),
    *("\u4e2d", "a-rf", "constant.py", "com10.txt", "git~x", "digit~1", "x" * 200),
]
BAD = [
    *(
        b"",
        b".",
        b"..",
        b"-rf",
        b"--upload-pack=x",
        b"a\nb",
        b"a\x7fb",
        b"a\\b",
        b"a/b",
        b"a.",
        b"a ",
        b"\xff",
    ),
    *(
        b".git",
        b".GIT",
        b"git~1",
        b"GIT~2",
        b".git::$INDEX_ALLOCATION",
        b"con",
        b"Aux.txt",
        b"nul",
        b"lpt9.x",
    ),
    *(name.encode() for name in ("a\u202eb", "a\u200bb", ".g\u200cit", "a\u2028b", "e\u0301", "a\u0085")),
    *(name.encode() for name in ("\ufdd0", "\uff0egit", ".\u24bcit", "\U000e0041", "COM\u00b9", "x" * 201)),
]


@pytest.mark.parametrize("name", GOOD)
def test_names_of_daily_life_are_accepted(name: str) -> None:
    assert check_name(name.encode(), 200) == name


@pytest.mark.parametrize("raw", BAD)
def test_other_names_are_refused(raw: bytes) -> None:
    with pytest.raises(TreeRefused) as refused:
        check_name(raw, 200)

    assert (refused.value.reason, refused.value.detail) == ("tree_refused", "name")
    assert refused.value.message.isascii()
    assert refused.value.message.isprintable()


@given(st.text(max_size=12))
@example("\u1e9e")
@example("\ufb01")
def test_names_that_differ_in_case_or_composition_have_one_key(name: str) -> None:
    for other in (name.lower(), name.casefold(), unicodedata.normalize("NFD", name)):
        if other.casefold() == name.casefold() or other != name.lower():
            assert collision_key(other) == collision_key(name)


@given(st.binary(max_size=12))
def test_an_accepted_name_is_one_plain_component(raw: bytes) -> None:
    try:
        name = check_name(raw, 200)
    except TreeRefused:
        return

    assert name.encode() == raw
    assert all(one.isprintable() or unicodedata.category(one) in ("Zs", "Co") for one in name)
    assert not set(name) & {"/", "\\", "\0", "\n"}
    assert name not in (".", "..")
