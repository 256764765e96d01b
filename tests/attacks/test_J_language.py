"""Hostile pipeline files (threats.md section 8, J): refused by rule id, in bounded time and memory."""

import difflib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.pipeline import load
from jobrunner.pipeline.suggestions import MOST_COST, Comparisons, Suggestions

pytestmark = pytest.mark.unit

HEAD = "version: '5.0'\nactions:\n"

#: Bounds of J01. The seconds are those of a machine on which libyaml alone reads 200,000 values in 0.1 s.
SECONDS, MEBIBYTES, YARDSTICK = 2.0, 500, 0.1

_MEASURE = """\
import re, sys, time
from pathlib import Path
from yaml._yaml import CParser
from jobrunner.pipeline import load

def seconds(work):
    started = time.process_time()
    result = work()
    return time.process_time() - started, result

def yardstick():
    parser = CParser(b"[" + b"1," * 200_000 + b"]")
    while parser.get_event():
        pass

data = sys.stdin.buffer.read()
before, _ = seconds(yardstick)
taken, loaded = seconds(lambda: load(data))
# Not ru_maxrss, which begins with what the process had that started this one.
[most] = re.findall("VmHWM:.* ([0-9]+) kB", Path("/proc/self/status").read_text())
print(taken, max(before, seconds(yardstick)[0]), int(most) / 1024)
print(*sorted({problem.id for problem in loaded.problems}))
"""


def action(name: str, *lines: str) -> str:
    own = {line.split(":")[0] for line in lines}
    usual = [f"run: r:v2 {name}.R", f"outputs: {{highly_sensitive: {{t: {name}.csv}}}}"]
    every = [*(line for line in usual if line.split(":")[0] not in own), *lines]
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in every)


def found(text: str) -> list[str]:
    return sorted(problem.id for problem in load(text.encode()).problems)


def measured(data: bytes) -> list[str]:
    """Rule ids of a check in a process of its own, which must keep within the bounds."""
    command = [sys.executable, "-c", _MEASURE]
    run = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60)
    figures, ids = run.stdout.decode().split("\n")[:2]
    seconds, yardstick, mebibytes = map(float, figures.split())
    assert seconds < SECONDS * max(1, yardstick / YARDSTICK)
    assert mebibytes < MEBIBYTES
    return ids.split()


def _alias_bomb() -> str:
    lists = [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)]
    return HEAD + "  a0: &a0 [x]\n" + "".join(lists)


def _merge_chain() -> str:
    return "a0: &a0 {k0: v}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: v}}\n" for n in range(1, 5_000))


def _long_text(value: str, first: str, others: str) -> str:
    """A text of 4,000,000 characters in one action, and by alias in 10,000 more."""
    outputs = "outputs: {{highly_sensitive: {{t: {pattern}}}}}"
    lines = [f"  a: {{{first}, {outputs}}}\n"] + [f"  a{{n}}: {{{others}, {outputs}}}\n"] * 10_000
    patterns = ["a.csv", "a{n}.csv"] if value == "run" else ["&long " + "x" * 4_000_000 + ".csv", "*long"]
    return HEAD + "".join(
        line.replace("{pattern}", patterns[min(n, 1)])
        .replace("{n}", str(n))
        .replace("{{", "{")
        .replace("}}", "}")
        for n, line in enumerate(lines)
    )


def _stars() -> str:
    high = ", ".join(f"a{n}: '*{n}*.csv'" for n in range(30_000))
    moderate = ", ".join(f"a{n}: x{n}.csv" for n in range(30_000))
    outputs = f"      highly_sensitive: {{{high}}}\n      moderately_sensitive: {{{moderate}}}\n"
    return HEAD + "  a:\n    run: r:v2 a\n    outputs:\n" + outputs


HUGE: dict[str, tuple[Callable[[], str], str]] = {
    "alias bomb": (_alias_bomb, "PS003"),
    "100 MB": (lambda: "a" * 100_000_000, "PS001"),
    "5 MB of brackets": (lambda: "a: " + "[" * 4_900_000, "PS002"),
    "deep block": (lambda: "".join(" " * n + "-\n" for n in range(3_000)), "PS002"),
    "depth 10,000": (lambda: "- " * 10_000, "PS002"),
    "5 MB of values": (lambda: "a: [" + "1," * 2_000_000, "PS003"),
    "repeated keys": (lambda: HEAD + "  a:\n" + "    x: 1\n" * 100_000, "PY003 PY033 PY034"),
    "merge chain": (_merge_chain, "PS003"),
    "tag directives": (lambda: "%TAG !a! tag:x\n" * 200_000 + "---\na: 1\n", "PS006 PY001"),
    "tag directives of many names": (
        lambda: "".join(f"%TAG !a{n}! tag:x\n" for n in range(60_000)) + "---\na: 1\n",
        "PS006 PY010 PY011 PY014",
    ),
    "tabs after dashes": (lambda: "-\ta\n" * 200_000, "PY001"),
    "one long number": (lambda: "version: " + "9" * 4_900_000 + "\nactions: {}\n", "PS010 PS025"),
    "one long command": (
        lambda: _long_text("run", f"run: &long 'r:v2 {'x' * 4_000_000}'", "run: *long"),
        "PS036 PY038",
    ),
    "one long pattern": (lambda: _long_text("pattern", "run: r:v2 a", "run: 'r:v2 {n}'"), "PS043 PY051"),
    "stars against names": (_stars, "PS042"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_J01_bombs_end_in_bounded_time_and_memory(name: str) -> None:
    make, ids = HUGE[name]

    assert measured(make().encode()) == ids.split()


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("run: r:v2 b\n    run: r:v2 c", ["PY003"]),
        ("config: {a: 1, a: 2}", ["PY003"]),
        ("<<: {run: r:v2 other}", []),
        ("<<: text", ["PY004"]),
        ("config: !!python/object/apply:os.system ['touch /tmp/owned']", ["PS006", "PY035"]),
        ("config: {a: !!python/name:os.system x}", ["PS006"]),
        ('run: "r:v2 a\\0"', ["PS034"]),
        ("config:\n\t\ta: 1", ["PY001"]),
    ],
)
def test_J01_odd_yaml_is_refused_or_read_as_documented(line: str, rules: list[str]) -> None:
    assert found(HEAD + action("a", line)) == rules


def test_J01_a_tag_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    assert found(f"version: !!python/object/apply:pathlib.Path.touch [{marker}]\n") == [
        "PS006",
        "PY012",
        "PY014",
    ]
    assert not marker.exists()


def test_J01_nul_is_refused() -> None:
    assert found(HEAD + "\0") == ["PY002"]


def test_J01_no_and_octal_are_read_as_documented() -> None:
    loaded = load((HEAD + action("a", "config: {a: no, b: 012, c: 0o12, d: yes, e: 1:30}")).encode())

    assert loaded.pipeline is not None
    assert loaded.pipeline.actions["a"].config == {"a": "no", "b": 12, "c": 10, "d": "yes", "e": "1:30"}


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("../a.csv", "PS040"),
        ("../../a.csv", "PY048"),
        ("out/../../a.csv", "PY048"),
        ("'**/a.csv'", "PY045"),
        ("'out/[a].csv'", "PY045"),
        ("'a?.csv'", "PY045"),
        ("/etc/a.csv", "PY050"),
        ("C:/a.csv", "PY050"),
        (r"out\a.csv", "PY044"),
        (r"..\a.csv", "PY044"),
        ("metadata/a.csv", "PY049"),
        ("METADATA/a.csv", "PS041"),
        ("MetaData/a.csv", "PS041"),
        ("./metadata/a.csv", "PY048"),
        ('"a\\n.csv"', "PS043"),
        ('"a\\0.csv"', "PS043"),
        ("a" * 1_000 + ".csv", "PS043"),
    ],
)
def test_J02_pattern_that_leaves_the_repository_is_refused(pattern: str, rule: str) -> None:
    loaded = load((HEAD + action("a", f"outputs: {{highly_sensitive: {{t: {pattern}}}}}")).encode())

    assert rule in {problem.id for problem in loaded.problems}
    assert loaded.pipeline is None


@pytest.mark.parametrize("key", ["environment", "env", "environment_variables", "entrypoint", "image"])
def test_J04_a_study_sets_no_variable_and_no_entrypoint(key: str) -> None:
    assert found(HEAD + action("a", f"{key}: {{LD_PRELOAD: /evil.so, PATH: /evil}}")) == ["PY034"]


def test_J05_circle() -> None:
    assert found(
        HEAD + action("a", "needs: [b]") + action("b", "needs: [c]") + action("c", "needs: [a]")
    ) == ["PS023"]


def test_J05_need_on_itself() -> None:
    assert found(HEAD + action("a", "needs: [a]")) == ["PS022"]


@pytest.mark.parametrize(
    "need", ["nope", "other-project/a", "../other/a", "https://example.org/a", "''", "A"]
)
def test_J05_need_that_is_not_in_this_file(need: str) -> None:
    assert found(HEAD + action("a") + action("b", f"needs: [{need}]")) == ["PY037"]


@pytest.mark.slow
def test_J05_ten_thousand_actions_take_near_linear_time() -> None:
    def seconds(count: int, need: str) -> float:
        text = HEAD + "".join(
            action(f"a{n}", f"needs: [{need.format(next=(n + 1) % count, n=n)}]") for n in range(count)
        )
        started = time.process_time()
        assert not load(text.encode()).valid
        return time.process_time() - started

    for need in ("a{next}", "unknown{n}", "a{n}"):
        small, large = seconds(1_000, need), seconds(10_000, need)
        assert large < 20 * small + 0.5


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "/etc/passwd",
        '"a\\0b"',
        "a" * 1_000,
        "..",
        ".hidden",
        "a..b",
        "-rf",
        "''",
        "a b",
        "é",
        '"a\\nb"',
        "a:b",
    ],
)
def test_J06_action_id_that_is_no_plain_name_is_refused(name: str) -> None:
    text = HEAD + f"  ? {name}\n  : {{run: r:v2 a, outputs: {{highly_sensitive: {{t: a.csv}}}}}}\n"
    loaded = load(text.encode())

    assert [problem.id for problem in loaded.problems] == ["PS020"]
    assert loaded.pipeline is None


class _Counting(difflib.SequenceMatcher[str]):
    """Finds nothing alike, and counts what looking costs: signs of one text times signs of the other."""

    cost = 0
    signs: tuple[int, int] = (0, 0)

    def set_seq1(self, a: Sequence[str]) -> None:
        self.signs = (len(a), self.signs[1])

    def set_seq2(self, b: Sequence[str]) -> None:
        self.signs = (self.signs[0], len(b))

    def quick_ratio(self) -> float:
        return 1.0

    def ratio(self) -> float:
        _Counting.cost += self.signs[0] * self.signs[1]
        return 0.0


def test_J01_names_that_were_meant_are_looked_for_with_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difflib, "SequenceMatcher", _Counting)
    monkeypatch.setattr(_Counting, "cost", 0)
    actions = "".join(
        f"  {'a' * 110}{n:05}: {{run: 'python:v2 {n}', needs: [{'b' * 100}{n:05}], "
        f"o{'u' * 8}{n}: 1, outputs: {{highly_sensitiv{n}: {{}}}}}}\n"
        for n in range(300)
    )
    problems = load((HEAD + actions).encode()).problems
    assert sum(problem.id == "PY037" for problem in problems) == 300
    assert 0 < _Counting.cost <= MOST_COST


def test_J01_twin_a_name_that_was_meant_is_found_until_the_work_is_too_much() -> None:
    enough = Comparisons()
    assert enough.nearest("modle", ["extract", "model"]) == ["model"]
    assert Suggestions(["extract", "model"], enough).hint("Model") == " Did you mean `model`?"
    few = Comparisons(most_cost=200)
    assert [few.nearest("modle", ["model"]) for _ in range(3)] == [["model"], [], []]
    assert Comparisons().nearest("a" * 129, ["a" * 128]) == []
    assert Comparisons().nearest("a" * 128, ["a" * 129, "a" * 127 + "b"]) == ["a" * 127 + "b"]


@given(
    st.text("abc", max_size=8), st.lists(st.text("abc", max_size=8), max_size=8), st.sampled_from([0.6, 0.75])
)
def test_what_is_near_is_what_the_standard_library_calls_near(
    text: str, names: list[str], cutoff: float
) -> None:
    assert Comparisons().nearest(text, names, 3, cutoff) == difflib.get_close_matches(text, names, 3, cutoff)
