import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.privacy import names
from jobrunner.privacy.levels import HIGHLY, MODERATELY, level_named, most_sensitive
from jobrunner.study import TreeRefused
from jobrunner.study.names import check_name

pytestmark = pytest.mark.unit


def test_minimally_is_treated_as_moderately() -> None:
    assert level_named("minimally_sensitive") == MODERATELY


def test_the_most_sensitive_level_wins() -> None:
    assert most_sensitive(["minimally_sensitive", "highly_sensitive", "moderately_sensitive"]) == HIGHLY
    assert most_sensitive(["minimally_sensitive", "moderately_sensitive"]) == MODERATELY


@pytest.mark.parametrize("levels", [[], ["public"], ["highly_sensitive", "x"]])
def test_an_unknown_level_is_an_error(levels: list[str]) -> None:
    with pytest.raises(ValueError):
        most_sensitive(levels)


@pytest.mark.parametrize(
    "path",
    [
        "out/table_2023-10.csv",
        ".hidden",
        "a b.csv",
        "é.csv",
        "~x",
        "a.-b",
        "console.csv",
        "$HOME/x",
        "x" * 200,
    ],
)
def test_ordinary_names_are_kept(path: str) -> None:
    assert names.why_refused(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/./b",
        "-rf",
        "a/-x",
        "a.",
        "a /b",
        "a\\b",
        "a\nb",
        "a\x1bb",
        "a\u202eb",
        "a\u200bb",
        "a\u2028b",
        "e\u0301.csv",
        "\udcff.csv",
        "a\u0378b",
        "a\ue000b",
        "con",
        "out/NUL.csv",
        "LPT1.txt",
        "x" * 201,
        "é" * 101,
        "/".join(["x" * 100] * 6),
    ],
)
def test_other_names_are_refused(path: str) -> None:
    assert names.why_refused(path) is not None


# One list for outputs and for study trees, which may not import one from the other.
BLANKS = [
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159",
    *"\ufe00\ufe0f\U000e0100\U000e01ef",
]
# U+2000 and U+2001 are not in form NFC and refused for that.
SPACES = "\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"


@pytest.mark.parametrize("sign", BLANKS, ids=ascii)
def test_O02_a_sign_that_looks_like_nothing_is_refused(sign: str) -> None:
    name = f"table{sign}x.csv"
    assert "looks like nothing" in str(names.why_refused(f"out/{name}"))
    with pytest.raises(TreeRefused, match="looks like nothing"):
        check_name(name.encode(), 200)


@pytest.mark.parametrize("sign", SPACES, ids=ascii)
def test_O02_no_space_but_the_plain_one(sign: str) -> None:
    name = f"table{sign}x.csv"
    assert "not the plain one" in str(names.why_refused(f"out/{name}"))
    with pytest.raises(TreeRefused, match="not the plain one"):
        check_name(name.encode(), 200)


def test_O02_twin_every_script_may_name_files() -> None:
    for name in (
        "table x.csv",
        "\ud55c\uae00.csv",
        "\u1797\u17b6\u179f\u17b6.csv",
        "\u4e2d \u6587.csv",
        "\U0001f600.csv",
    ):
        assert names.why_refused(f"out/{name}") is None
        assert check_name(name.encode(), 200) == name


@given(st.text(max_size=60))
def test_what_is_kept_obeys_the_rules(path: str) -> None:
    why = names.why_refused(path)
    if why is None:
        assert len(path.encode()) <= 512
        assert unicodedata.normalize("NFC", path) == path
        for part in path.split("/"):
            assert part not in ("", ".", "..")
            assert not part.startswith("-")
            assert part[-1] not in ". "
            assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Cn", "Cs", "Co") for sign in part)
    else:
        assert path not in why or len(path) < 3


@pytest.mark.parametrize("path", ["metadata", "metadata/a", "METADATA/a.csv", "Metadata/b/c"])
def test_metadata_is_reserved_in_any_case(path: str) -> None:
    assert names.is_reserved(path)
    assert not names.is_reserved("out/" + path)


@pytest.mark.parametrize(
    ("new", "taken"),
    [
        (["A.csv", "a.csv"], []),
        (["out/A.csv"], ["OUT/a.csv"]),
        (["out"], ["out/a.csv"]),
        (["out/a.csv"], ["out"]),
        (["straße"], ["STRASSE"]),
    ],
)
def test_paths_that_cannot_lie_together_collide(new: list[str], taken: list[str]) -> None:
    assert list(names.collisions(new, taken))


def test_different_paths_do_not_collide() -> None:
    assert not list(names.collisions(["out/a.csv", "out/b.csv", "c"], ["out/a.csv", "d/e"]))


@given(st.lists(st.text("aAbB/", min_size=1, max_size=5), max_size=6, unique=True))
def test_taken_paths_among_themselves_never_count(paths: list[str]) -> None:
    assert not list(names.collisions([], paths))
