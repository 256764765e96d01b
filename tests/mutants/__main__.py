"""Take out each protection of the catalogue and see that its tests notice (threats.md section 9).

    python -m tests.mutants --mark unit http
    python -m tests.mutants --mark docker --shard 1/4
    python -m tests.mutants --only G02 G14-locks
    python -m tests.mutants --mark unit http docker --summary

Exit status 1 when a protection survives, or an entry cannot be judged: its line is not there exactly once,
or a test that it names does not pass while the line is there.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.mutants import catalogue
from tests.mutants.catalogue import Protection
from tests.mutants.collected import KINDS, OneTest, collected_tests
from tests.mutants.results import Results, digest_of
from tests.mutants.trial import Trial
from tests.mutants.workbench import FAILED, PASSED, TIMED_OUT

_RESULTS: Final = ".mutants/results.json"
KILLED: Final = "killed"
SURVIVED: Final = "survived"
BROKEN: Final = "broken"
VERDICTS: Final = (KILLED, SURVIVED, BROKEN)
Row = tuple[Protection, str, dict[str, str]]


def main(words: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit status."""
    asked = _arguments().parse_args(words)
    # So that whoever ends it ends the tests that run too, and the copy goes.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    root: Path = asked.root
    tests = collected_tests(root)
    taken = chosen(root, tests, asked.mark, asked.only, asked.shard)
    results = Results(root / _RESULTS)
    named = {one.id: [catalogue.resolve(name, tests) for name in one.must_fail] for one in taken}
    # Before the tree is copied: who changes a file meanwhile changes what is known of the next run only.
    digests = {one.id: digest_of(root, one, {test.file for test in named[one.id]}) for one in taken}
    found = {one.id: results.get(one.id, digests[one.id]) or {} for one in taken}
    left = [one for one in taken if not found[one.id]]
    if left:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            trial = Trial(root, Path(folder), asked.jobs or _workers(left, named), named)
            try:
                for number, (one, outcomes, seconds) in enumerate(trial.outcomes(left), start=1):
                    found[one.id] = outcomes
                    results.keep(one.id, digests[one.id], outcomes)
                    print(
                        f"{number:3}/{len(left)} {one.id}: {verdict(outcomes)} ({seconds:.0f} s)", flush=True
                    )
            finally:
                trial.close()
    rows = [(one, verdict(found[one.id]), found[one.id]) for one in taken]
    print(summary(rows) if asked.summary else table(rows))
    return 0 if all(word == KILLED for _, word, _ in rows) else 1


def _workers(left: Sequence[Protection], named: Mapping[str, Sequence[OneTest]]) -> int:
    """Two, but one where a container or a browser may be measured."""
    light = all(test.kind in ("unit", "http") for one in left for test in named[one.id])
    return min(2 if light else 1, len(left))


def verdict(outcomes: dict[str, str]) -> str:
    """killed: every test failed or hung. survived: one passed. broken: nothing can be said."""
    found = set(outcomes.values())
    if found and found <= {FAILED, TIMED_OUT}:
        return KILLED
    return SURVIVED if found and found <= {FAILED, TIMED_OUT, PASSED} else BROKEN


def table(rows: Sequence[Row]) -> str:
    """One line for each test of each protection, and the sums."""
    lines = ["| protection | what it does | test | verdict |", "|---|---|---|---|"]
    for protection, found, outcomes in rows:
        for node, outcome in outcomes.items():
            shown = found if found == KILLED else f"**{found}** ({outcome})"
            lines.append(f"| {protection.id} | {protection.what} | {node.rpartition('::')[2]} | {shown} |")
    return "\n".join([*lines, "", _sums(rows)])


def summary(rows: Sequence[Row]) -> str:
    """One line for each attack, the names of what was not killed, and the sums."""
    lines = [f"| id | protections | {' | '.join(VERDICTS)} |", "|---|" + "---:|" * (1 + len(VERDICTS))]
    for attack in dict.fromkeys(protection.attack for protection, _, _ in rows):
        words = [found for protection, found, _ in rows if protection.attack == attack]
        counts = " | ".join(str(words.count(word)) for word in VERDICTS)
        lines.append(f"| {attack} | {len(words)} | {counts} |")
    alive = [f"{found}: {protection.id}" for protection, found, _ in rows if found != KILLED]
    return "\n".join([*lines, "", *alive, _sums(rows)])


def _sums(rows: Sequence[Row]) -> str:
    sums = [f"{sum(found == word for _, found, _ in rows)} {word}" for word in VERDICTS]
    return f"{len(rows)} protections: {', '.join(sums)}"


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
    parser.add_argument("--jobs", type=int, help="how many side by side (default: 2, with containers 1)")
    parser.add_argument("--summary", action="store_true", help="print counts for each attack, not each test")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the tree (default: where this runs)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
