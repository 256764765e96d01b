"""Which files of the study a command names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.local.named import named_files

pytestmark = pytest.mark.unit

FILES = [
    "analysis/model.py",
    "analysis/utils.R",
    "codelists/a.csv",
    "codelists/b.csv",
    "run.py",
    "analysis2/x",
]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["analysis/model.py"], {"analysis/model.py"}),
        (["./analysis//model.py"], {"analysis/model.py"}),
        (["/workspace/run.py"], {"run.py"}),
        (["--lists=codelists/a.csv"], {"codelists/a.csv"}),
        (["codelists"], {"codelists/a.csv", "codelists/b.csv"}),
        (["codelists/"], {"codelists/a.csv", "codelists/b.csv"}),
        (["codelists/*.csv"], {"codelists/a.csv", "codelists/b.csv"}),
        (["-m", "analysis.model"], {"analysis/model.py"}),
        (["-m", "run"], {"run.py"}),
        (["analysis.model"], set()),
        (["analysis"], {"analysis/model.py", "analysis/utils.R"}),
        (["../analysis/model.py", "/analysis/model.py", ".", "", "ANALYSIS/model.py", "--x"], set()),
    ],
)
def test_words(words: list[str], named: set[str]) -> None:
    assert named_files(words, None, FILES) == named


def test_texts_of_config() -> None:
    config = {"lists": ["codelists/a.csv", 3], "deep": {"script": "run.py", "run.py": "x"}}
    assert named_files([], config, FILES) == {"codelists/a.csv", "run.py"}


LINKS = {
    "link.py": "analysis/model.py",
    "analysis/up.py": "../link.py",
    "short": "codelists",
    "loop": "loop",
    "out": "../../etc",
    "far": "/etc",
    "again": "again",
    "codelists/more": "../analysis2",
}


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("link.py", {"link.py", "analysis/model.py"}),
        ("analysis/up.py", {"analysis/up.py", "link.py", "analysis/model.py"}),
        ("short/a.csv", {"short", "codelists/a.csv"}),
        ("short/*.csv", {"short", "codelists/a.csv", "codelists/b.csv"}),
        ("*.py", {"run.py", "link.py", "analysis/model.py"}),
        ("short", {"short", "codelists/a.csv", "codelists/b.csv", "codelists/more", "analysis2/x"}),
        ("loop", {"loop"}),
        ("out/passwd", {"out"}),
        ("far/passwd", set()),
    ],
)
def test_who_names_a_link_names_what_it_leads_to(word: str, named: set[str]) -> None:
    assert named_files([word], None, [*FILES, *LINKS], LINKS) == named


@given(st.lists(st.text()), st.dictionaries(st.text(), st.lists(st.text()) | st.text()))
def test_any_words_name_nothing_but_files_of_the_study(words: list[str], config: dict[str, object]) -> None:
    assert named_files(words, config, FILES) <= set(FILES)
