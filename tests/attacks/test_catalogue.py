"""The catalogue against the list of attacks, the tests that there are, and the lines that it takes out."""

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.mutants import catalogue
from tests.mutants.catalogue import Attack, Change, Protection
from tests.mutants.collected import KINDS, OneTest, collected_tests

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).parents[2]
IDS: Final = ROOT / "tests/data/threat_ids.txt"
SPECIFICATION: Final = ROOT.parent / "shared/threats.md"
ATTACKS: Final = catalogue.read(ROOT)
TESTS: Final = collected_tests(ROOT)
CARRIES_AN_ID: Final = re.compile(r"test_([A-Z]\d\d)_\w+")


def known_ids() -> list[str]:
    return [line for line in IDS.read_text().splitlines() if not line.startswith("#")]


def named_tests() -> dict[str, list[str]]:
    """Ids that tests have in their names, with the names."""
    found: dict[str, list[str]] = {}
    for test in TESTS:
        if match := CARRIES_AN_ID.fullmatch(test.name):
            found.setdefault(match[1], []).append(test.name)
    return found


def every_protection() -> list[Protection]:
    return [protection for attack in ATTACKS for protection in attack.protections]


def test_every_attack_of_the_specification_is_in_the_catalogue() -> None:
    assert [attack.id for attack in ATTACKS] == known_ids()


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not beside this checkout")
def test_the_list_of_ids_is_that_of_the_specification() -> None:
    rows = re.findall(r"^\| ([GIJOPS]\d\d) \|", SPECIFICATION.read_text(), flags=re.M)
    assert rows == known_ids()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_has_tests_or_the_reason_why_not(attack: Attack) -> None:
    assert bool(attack.tests) != bool(attack.later), "give it either tests or `later`, and not both"
    assert set(attack.marks) <= set(KINDS)
    assert attack.title


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_the_catalogue_names_the_tests_that_carry_the_id_and_no_others(attack: Attack) -> None:
    there_are = Counter(named_tests().get(attack.id, []))
    named = Counter(attack.tests)
    assert named == there_are, (
        f"bring `tests` of [{attack.id}] in {catalogue.PLACE} in line: "
        f"add {sorted(there_are - named)}, take out {sorted(named - there_are)}"
    )


def test_no_test_carries_an_id_that_is_none() -> None:
    assert sorted(set(named_tests()) - set(known_ids())) == []


def test_every_test_has_exactly_one_kind() -> None:
    assert [test.node for test in TESTS if len(test.marks & set(KINDS)) != 1] == []


def test_protections_have_names_of_their_own() -> None:
    assert [name for name, count in Counter(one.id for one in every_protection()).items() if count > 1] == []


@pytest.mark.parametrize("protection", every_protection(), ids=lambda one: one.id)
def test_a_protection_can_be_taken_out_and_its_tests_are_there(protection: Protection) -> None:
    assert [fault for change in protection.changes if (fault := change.fault(ROOT))] == []
    assert protection.must_fail
    for name in protection.must_fail:
        assert isinstance(catalogue.resolve(name, TESTS), OneTest)


@pytest.mark.parametrize(
    ("text", "old", "new", "why"),
    [
        ("a = 1\nb = 2\n", "c = 3\n", "", "0 times"),
        ("a = 1\na = 1\n", "a = 1\n", "", "2 times"),
        ("if a:\n    b()\n", "    b()\n", "", "no Python"),
    ],
)
def test_a_change_that_cannot_be_made_is_told(
    tmp_path: Path, text: str, old: str, new: str, why: str
) -> None:
    (tmp_path / "a.py").write_text(text)
    assert why in (Change("a.py", old, new).fault(tmp_path) or "")


def test_a_change_that_can_be_made_has_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\nb = 2\n")
    assert Change("a.py", "b = 2\n", "").fault(tmp_path) is None
    assert "is not there" in (Change("b.py", "b", "").fault(tmp_path) or "")
