"""The pages about the language are those that the rule table, the rows and the code give."""

import re

import pytest

from docs.reference import FOLDER, _table, errors_page, language_page, severity_and_message
from jobrunner.pipeline import load
from tests.pipeline.rule_rows import ROWS

pytestmark = pytest.mark.unit

WRITE = "Write it anew: python -m docs.reference"


def test_errors_page_is_up_to_date() -> None:
    assert (FOLDER / "errors.md").read_text("utf-8") == errors_page(), WRITE


def test_language_page_is_up_to_date() -> None:
    page = (FOLDER / "language.md").read_text("utf-8")

    assert page == language_page(page), WRITE


def test_every_rule_of_the_checks_is_told() -> None:
    table = _table()
    told = {rule for kind in ("format", "strict") for rules in table[kind].values() for rule in rules}

    assert told == {row.rule for row in ROWS}


def test_each_id_has_one_entry() -> None:
    headings = re.findall(r"^#### (\w+)$", errors_page(), re.MULTILINE)
    numbers = {kind: [h for h in headings if h.startswith(kind)] for kind in ("PY", "PS", "SF", "RQ", "RA")}

    assert len(headings) == len(set(headings))
    assert numbers["SF"] == ["SF001", "SF002", "SF003"]
    assert numbers["RQ"] == [f"RQ{n:03}" for n in range(1, 15) if n != 7]
    assert numbers["RA"] == [f"RA{n:03}" for n in range(1, 11)]


def test_every_link_has_its_place() -> None:
    ids = {heading.lower() for heading in re.findall(r"^#### (\w+)$", errors_page(), re.MULTILINE)}
    links = re.findall(r"errors\.md#(\w+)", (FOLDER / "language.md").read_text("utf-8"))

    assert set(links) <= ids
    assert len(set(links)) == len([one for one in ids if one[:2] in ("py", "ps")])


@pytest.mark.parametrize("text", ["wrong", "right"])
def test_what_is_shown_instead_of_an_example_is_short(text: str) -> None:
    assert all(len(shown[text]) < 200 for shown in _table()["shown"].values())


def test_no_line_is_endless() -> None:
    assert max(map(len, errors_page().split("\n"))) < 400


def test_the_whole_file_in_the_page_is_valid() -> None:
    page = (FOLDER / "language.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    assert load(example.encode()).problems == ()


def test_messages_say_how_to_mend() -> None:
    """At least two sentences: what was found, and what to do."""
    for row in ROWS:
        _, message = severity_and_message(row)
        assert re.search(r"[.?] [A-Z`].*\.$|[.?] [A-Z`].*\?$|: .*\. ", message), (row.rule, message)
