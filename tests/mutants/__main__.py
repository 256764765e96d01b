"""Take out each protection of the catalogue and see that its tests notice (threats.md section 9).

    python -m tests.mutants --mark unit http
    python -m tests.mutants --mark docker --shard 1/4
    python -m tests.mutants --only G02 G14-locks

Exit status 1 when a protection survives, or an entry cannot be judged: its line is not there exactly once,
or a test that it names does not pass while the line is there.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from tests.mutants import catalogue
from tests.mutants.catalogue import Protection
from tests.mutants.collected import KINDS, OneTest, collected_tests
from tests.mutants.results import Results, digest_of
from tests.mutants.workbench import FAILED, PASSED, TIMED_OUT, Workbench

_LIMIT_S: Final = {"unit": 120.0, "http": 180.0, "docker": 300.0, "browser": 300.0}
_WHOLE_LIMIT_S: Final = 1800.0
_RESULTS: Final = ".mutants/results.json"
KILLED: Final = "killed"
SURVIVED: Final = "survived"
BROKEN: Final = "broken"


def main(words: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit status."""
    asked = _arguments().parse_args(words)
    # So that whoever ends it ends the tests that run too, and the copy goes.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    root: Path = asked.root
    tests = collected_tests(root)
    taken = chosen(root, tests, asked.mark, asked.only, asked.shard)
    results = Results(root / _RESULTS)
    rows: list[tuple[Protection, str, dict[str, str]]] = []
    named = {one.id: [catalogue.resolve(name, tests) for name in one.must_fail] for one in taken}
    # Before the tree is copied: who changes a file meanwhile changes what is known of the next run only.
    digests = {one.id: digest_of(root, one, {test.file for test in named[one.id]}) for one in taken}
    left = [one for one in taken if results.get(one.id, digests[one.id]) is None]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Workbench(root, Path(folder)) if left else None
        sound = Sound({test for one in left for test in named[one.id]})
        for number, protection in enumerate(taken, start=1):
            outcomes = results.get(protection.id, digests[protection.id])
            if outcomes is None and bench is not None:
                began = time.monotonic()
                outcomes = _try(bench, sound, protection, named[protection.id])
                results.keep(protection.id, digests[protection.id], outcomes)
                seconds = time.monotonic() - began
                print(
                    f"{number:3}/{len(taken)} {protection.id}: {verdict(outcomes)} ({seconds:.0f} s)",
                    flush=True,
                )
            rows.append((protection, verdict(outcomes or {}), outcomes or {}))
    print(table(rows))
    return 0 if all(found == KILLED for _, found, _ in rows) else 1


class Sound:
    """Which of these tests pass while every protection is there; those of a file are run at once."""

    def __init__(self, tests: Collection[OneTest]) -> None:
        self._tests = tests
        self._known: dict[str, str] = {}

    def outcomes(self, bench: Workbench, asked: Sequence[OneTest]) -> dict[str, str]:
        """How the tests end in the whole tree, by node."""
        for file in {test.file for test in asked if test.node not in self._known}:
            nodes = sorted(test.node for test in self._tests if test.file == file)
            self._known |= bench.run(nodes, _WHOLE_LIMIT_S)
        return {test.node: self._known[test.node] for test in asked}


def _try(bench: Workbench, sound: Sound, protection: Protection, tests: Sequence[OneTest]) -> dict[str, str]:
    """How the tests end without the protection; what is wrong with the entry itself, under its name."""
    for change in protection.changes:
        fault = change.fault(bench.tree)
        if fault is not None:
            return {"entry": fault}
    whole = sound.outcomes(bench, tests)
    if any(outcome != PASSED for outcome in whole.values()):
        return {node: f"{outcome} with the protection" for node, outcome in whole.items()}
    with bench.without(protection.changes):
        return bench.run(list(whole), max(_LIMIT_S[test.kind] for test in tests))


def verdict(outcomes: dict[str, str]) -> str:
    """killed: every test failed or hung. survived: one passed. broken: nothing can be said."""
    found = set(outcomes.values())
    if found and found <= {FAILED, TIMED_OUT}:
        return KILLED
    return SURVIVED if found and found <= {FAILED, TIMED_OUT, PASSED} else BROKEN


def table(rows: Sequence[tuple[Protection, str, dict[str, str]]]) -> str:
    """One line for each test of each protection, and the sums."""
    lines = ["| protection | what it does | test | verdict |", "|---|---|---|---|"]
    for protection, found, outcomes in rows:
        for node, outcome in outcomes.items():
            shown = found if found == KILLED else f"**{found}** ({outcome})"
            lines.append(f"| {protection.id} | {protection.what} | {node.rpartition('::')[2]} | {shown} |")
    sums = {word: sum(found == word for _, found, _ in rows) for word in (KILLED, SURVIVED, BROKEN)}
    return "\n".join(
        [*lines, "", f"{len(rows)} protections: " + ", ".join(f"{n} {word}" for word, n in sums.items())]
    )


def chosen(
    root: Path, tests: Sequence[OneTest], marks: Sequence[str], only: Sequence[str], shard: tuple[int, int]
) -> list[Protection]:
    """The protections of these kinds, or those whose names begin like one of `only`; of them one shard."""
    every = [protection for attack in catalogue.read(root) for protection in attack.protections]
    if only:
        every = [one for one in every if one.id.startswith(tuple(only))]
    else:
        every = [one for one in every if catalogue.kind_of(one, tests) in marks]
    part, parts = shard
    return every[part - 1 :: parts]


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError("write a shard as 1/4")
    return int(part), int(parts)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--mark", nargs="+", choices=KINDS, default=["unit", "http"], help="which tests")
    parser.add_argument("--shard", type=_shard, default=(1, 1), help="one of so many parts, as 1/4")
    parser.add_argument("--only", nargs="+", default=[], help="protections whose names begin so")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the tree (default: where this runs)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
