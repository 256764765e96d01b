"""`tests/attacks/catalogue.toml`: every attack of threats.md section 8, and every protection to take out.

[G05]
attack = "..."
marks = ["unit"]
tests = ["test_G05_..."]        # or later = "why there is none yet"
[[G05.protections]]
id = "fold"                     # G05-fold in the table
what = "one sentence"
file = "jobrunner/..."
old = "the exact text to take out"
new = "what stands there instead"           # nothing where it is left out
also = [{ file = "...", old = "...", new = "..." }]   # the second place of what is covered twice
must_fail = ["test_G05_...", "tests/study/test_names.py::test_..."]
names = ["profile:Dns", "reason:tree_refused/name", "cap:git.depth"]   # see test_catalogue_names.py
"""

import ast
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.mutants.collected import KINDS, OneTest

PLACE: Final = "tests/attacks/catalogue.toml"
_ATTACK_KEYS: Final = {"attack", "marks", "tests", "later", "protections"}
_PROTECTION_KEYS: Final = {"id", "what", "file", "old", "new", "also", "must_fail", "names"}


class CatalogueProblem(Exception):
    """The catalogue does not say what it must; the text names the entry."""


@dataclass(frozen=True, slots=True)
class Change:
    """`old` stands exactly once in `file`, and `new` takes its place."""

    file: str
    old: str
    new: str

    def fault(self, root: Path) -> str | None:
        """Why the change cannot be made as it is declared; None when it can."""
        try:
            text = (root / self.file).read_text(encoding="utf-8")
        except OSError:
            return f"{self.file} is not there"
        count = text.count(self.old)
        if count != 1:
            return f"{self.file} holds {self.old!r} {count} times, not once"
        try:
            if self.file.endswith(".py"):
                ast.parse(text.replace(self.old, self.new))
        except SyntaxError as error:
            return f"{self.file} is no Python without {self.old!r}: {error}"
        return None


@dataclass(frozen=True, slots=True)
class Protection:
    """One thing that stands between an attack and its aim. `must_fail`: tests as the catalogue names them.

    `names`: what of the product's own lists it is about.
    """

    id: str
    what: str
    changes: tuple[Change, ...]
    must_fail: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def attack(self) -> str:
        """The id of the attack that it stands against."""
        return self.id.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of threats.md section 8. `later` is empty where there are tests."""

    id: str
    title: str
    marks: tuple[str, ...]
    tests: tuple[str, ...]
    later: str
    protections: tuple[Protection, ...]


def read(root: Path) -> list[Attack]:
    """The catalogue of the tree at `root`. Raises CatalogueProblem."""
    values = tomllib.loads((root / PLACE).read_text(encoding="utf-8"))
    return [_attack(name, value) for name, value in values.items()]


def _attack(name: str, value: Mapping[str, Any]) -> Attack:
    _require_known(name, value, _ATTACK_KEYS)
    return Attack(
        id=name,
        title=value["attack"],
        marks=tuple(value["marks"]),
        tests=tuple(value.get("tests", ())),
        later=value.get("later", ""),
        protections=tuple(_protection(name, one) for one in value.get("protections", ())),
    )


def _protection(attack: str, value: Mapping[str, Any]) -> Protection:
    name = f"{attack}-{value.get('id')}"
    _require_known(name, value, _PROTECTION_KEYS)
    return Protection(
        id=name,
        what=value["what"],
        changes=tuple(
            Change(one["file"], one["old"], one.get("new", "")) for one in (value, *value.get("also", ()))
        ),
        must_fail=tuple(value["must_fail"]),
        names=tuple(value.get("names", ())),
    )


def _require_known(name: str, value: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(value) - known:
        raise CatalogueProblem(f"{name} has {', '.join(sorted(unknown))}, which means nothing")


def resolve(name: str, tests: Sequence[OneTest]) -> OneTest:
    """The test that the catalogue means: by its place, or by its name alone. Raises CatalogueProblem."""
    found = [test for test in tests if name in (test.name, test.node)]
    if len(found) != 1:
        raise CatalogueProblem(f"{name} names {len(found)} tests; write tests/room/test_file.py::{name}")
    return found[0]


def kind_of(protection: Protection, tests: Sequence[OneTest]) -> str:
    """What it takes to see that the protection is gone: the heaviest of `KINDS` among its tests."""
    return max((resolve(name, tests).kind for name in protection.must_fail), key=KINDS.index)
