"""The tests that there are, read from their files without running any: name, place and marks."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KINDS: Final = ("unit", "http", "docker", "browser")


@dataclass(frozen=True, slots=True)
class OneTest:
    """One test function. `file` is relative to the root; `marks` are those of the function and its module."""

    file: str
    name: str
    marks: frozenset[str]

    @property
    def node(self) -> str:
        """The way pytest names it: `tests/room/test_it.py::test_that`."""
        return f"{self.file}::{self.name}"

    @property
    def kind(self) -> str:
        """The first of `KINDS` that it is marked with; raises StopIteration for a test without one."""
        return next(kind for kind in KINDS if kind in self.marks)


def collected_tests(root: Path) -> list[OneTest]:
    """All test functions below `root/tests`, as pytest collects them: at the top level of a test_*.py."""
    found: list[OneTest] = []
    for file in sorted((root / "tests").rglob("test_*.py")):
        found.extend(_tests_of(file, file.relative_to(root).as_posix()))
    return found


def _tests_of(file: Path, place: str) -> Iterator[OneTest]:
    module = ast.parse(file.read_text(encoding="utf-8"))
    named: dict[str, frozenset[str]] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            named[statement.targets[0].id] = _marks(statement.value, named)
    common = named.get("pytestmark", frozenset())
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
            own = (_marks(decorator, named) for decorator in statement.decorator_list)
            yield OneTest(place, statement.name, common.union(*own))


def _marks(value: ast.expr, named: dict[str, frozenset[str]]) -> frozenset[str]:
    """The marks in `pytest.mark.unit`, `pytest.mark.timeout(60)`, a list of them, or a name for one."""
    if isinstance(value, ast.List | ast.Tuple):
        return frozenset().union(*(_marks(one, named) for one in value.elts))
    if isinstance(value, ast.Call):
        return _marks(value.func, named)
    if isinstance(value, ast.Name):
        return named.get(value.id, frozenset())
    if isinstance(value, ast.Attribute) and ast.unparse(value.value) == "pytest.mark":
        return frozenset({value.attr})
    return frozenset()
