"""Each rule: its wrong form gives all that must be reported, at the exact place; its right form is valid."""

import pytest

from jobrunner.pipeline import Problem, load
from tests.pipeline.examples import BASE, build
from tests.pipeline.rule_rows import ROWS, Row

pytestmark = pytest.mark.unit

WARNINGS = {"PY013", "PY031", "PS024", "PS025", "PS042", "PS044"}


def short(problem: Problem) -> str:
    return f"{problem.id} {problem.line}:{problem.column} {problem.action or '-'}"


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}-{row.rule}" for number, row in enumerate(ROWS)])
def test_wrong_form_is_reported(row: Row) -> None:
    problems = load(build(*row.wrong)).problems

    assert sorted(short(problem) for problem in problems) == sorted(row.reported.split(", "))
    for problem in problems:
        assert problem.severity == ("warning" if problem.id in WARNINGS else "error")
    message = next(problem.message for problem in problems if problem.id == row.rule)
    for word in row.words:
        assert word in message


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}-{row.rule}" for number, row in enumerate(ROWS)])
def test_right_form_is_valid(row: Row) -> None:
    loaded = load(build(*row.right))

    assert loaded.valid, loaded.problems
    assert row.rule not in {problem.id for problem in loaded.problems}


def test_every_rule_has_a_row() -> None:
    numbers = [*range(1, 6), *range(10, 21), *range(30, 39), *range(40, 52), *range(60, 69)]
    strict = [*range(1, 13), *range(20, 26), *range(30, 37), *range(40, 45), 50]

    assert {row.rule for row in ROWS} == {f"PY{n:03}" for n in numbers} | {f"PS{n:03}" for n in strict}


def test_base_is_valid_without_a_word() -> None:
    assert load(BASE).problems == ()
