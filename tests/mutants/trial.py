"""Protections taken out one after the other, by some workers side by side, each in a copy of its own."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from tests.mutants.catalogue import Protection
from tests.mutants.collected import OneTest
from tests.mutants.workbench import PASSED, Workbench

_LIMIT_S: Final = {"unit": 120.0, "http": 180.0, "docker": 300.0, "browser": 300.0}
_WHOLE_LIMIT_S: Final = 1800.0
# A test that hangs without its protection has had its chance after this much more than its file took.
_PATIENCE: Final = 5.0
_PATIENCE_S: Final = 20.0

T = TypeVar("T")
Named = Mapping[str, Sequence[OneTest]]


class Trial:
    """`workers` copies of the tree at `root` below `folder`. `named`: the tests of each protection by id."""

    def __init__(self, root: Path, folder: Path, workers: int, named: Named) -> None:
        self._named = named
        self._free: SimpleQueue[Workbench] = SimpleQueue()
        self._pool = ThreadPoolExecutor(workers)
        self._benches = list(
            self._pool.map(lambda number: Workbench(root, folder / str(number)), range(workers))
        )
        for bench in self._benches:
            self._free.put(bench)
        self._whole: dict[str, str] = {}
        self._seconds: dict[str, float] = {}

    def close(self) -> None:
        """End what runs, also in the middle of it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for bench in self._benches:
            bench.close()

    def outcomes(self, asked: Sequence[Protection]) -> Iterator[tuple[Protection, dict[str, str], float]]:
        """How the tests of each protection end without it, and in how many seconds, as they come.

        What is wrong with the entry itself stands under its name.
        """
        self._learn_whole({test for one in asked for test in self._named[one.id]})
        yield from self._each(asked, self._try)

    def _learn_whole(self, tests: set[OneTest]) -> None:
        """How all these tests end while every protection is there; those of a file are run at once."""
        files = sorted({test.file for test in tests})
        for _file, known, _seconds in self._each(
            files, lambda bench, file: self._run_file(bench, file, tests)
        ):
            self._whole |= known

    def _run_file(self, bench: Workbench, file: str, tests: set[OneTest]) -> dict[str, str]:
        began = time.monotonic()
        known = bench.run(sorted(test.node for test in tests if test.file == file), _WHOLE_LIMIT_S)
        self._seconds[file] = time.monotonic() - began
        # A test that measures time may miss it once on a busy machine.
        again = [node for node, outcome in known.items() if outcome != PASSED]
        return known | bench.run(again, _WHOLE_LIMIT_S) if again else known

    def _try(self, bench: Workbench, protection: Protection) -> dict[str, str]:
        for change in protection.changes:
            fault = change.fault(bench.tree)
            if fault is not None:
                return {"entry": fault}
        tests = self._named[protection.id]
        whole = {test.node: self._whole[test.node] for test in tests}
        if any(outcome != PASSED for outcome in whole.values()):
            return {node: f"{outcome} with the protection" for node, outcome in whole.items()}
        took = sum(self._seconds[file] for file in {test.file for test in tests})
        limit = min(max(_LIMIT_S[test.kind] for test in tests), _PATIENCE_S + _PATIENCE * took)
        with bench.without(protection.changes):
            return bench.run(list(whole), limit)

    def _each(
        self, things: Sequence[T], act: Callable[[Workbench, T], dict[str, str]]
    ) -> Iterator[tuple[T, dict[str, str], float]]:
        """Act on each thing at whatever workbench is free; what came of it, as it comes."""

        def at_a_bench(thing: T) -> tuple[T, dict[str, str], float]:
            with self._bench() as bench:
                began = time.monotonic()
                return thing, act(bench, thing), time.monotonic() - began

        futures: list[Future[tuple[T, dict[str, str], float]]] = [
            self._pool.submit(at_a_bench, thing) for thing in things
        ]
        for future in as_completed(futures):
            yield future.result()

    @contextmanager
    def _bench(self) -> Iterator[Workbench]:
        bench = self._free.get()
        try:
            yield bench
        finally:
            self._free.put(bench)
