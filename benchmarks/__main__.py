"""`python -m benchmarks [NAME ...]`: run benchmarks, print them as ratios, keep benchmarks/latest.json."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.check import check_10, check_200, check_1000, check_cold, check_corpus
from benchmarks.idle import idle_cpu_percent, idle_rss_mib
from benchmarks.jobs import chain10, independent20, request_to_start
from benchmarks.measure import Measurement, keep, table
from benchmarks.outputs import input_1gib, output_1gib, outputs_1000
from benchmarks.scheduling import poll_100k, schedule_1k, schedule_5k
from benchmarks.viewers import viewers_500

BENCHMARKS: Final[dict[str, Callable[[], Measurement]]] = {
    "chain10": chain10,
    "independent20": independent20,
    "request_to_start": request_to_start,
    "outputs_1000": outputs_1000,
    "output_1gib": output_1gib,
    "input_1gib": input_1gib,
    "poll_100k": poll_100k,
    "schedule_1k": schedule_1k,
    "schedule_5k": schedule_5k,
    "viewers_500": viewers_500,
    "idle_cpu_percent": idle_cpu_percent,
    "idle_rss_mib": idle_rss_mib,
    "check_10": check_10,
    "check_200": check_200,
    "check_1000": check_1000,
    "check_corpus": check_corpus,
    "check_cold": check_cold,
}


def main(words: list[str]) -> int:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures against the floor on this machine, prints medians and ratios, and writes "
        "benchmarks/latest.json. All of them take about seven minutes; nothing else should run meanwhile.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; else all")
    names = parser.parse_args(words).names
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name}; --help names those that there are")
    measurements = []
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        measurements.append(BENCHMARKS[name]())
    print(table(measurements))
    keep(measurements, Path(__file__).with_name("latest.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
