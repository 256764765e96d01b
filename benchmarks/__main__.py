"""`python -m benchmarks [NAME ...]`: run benchmarks, print them as ratios, keep benchmarks/latest.json."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.jobs import chain10, request_to_start
from benchmarks.measure import Measurement, keep, table
from benchmarks.scheduling import poll_100k, schedule_1k, schedule_5k
from benchmarks.viewers import viewers_500

BENCHMARKS: Final[dict[str, Callable[[], Measurement]]] = {
    "chain10": chain10,
    "request_to_start": request_to_start,
    "poll_100k": poll_100k,
    "schedule_1k": schedule_1k,
    "schedule_5k": schedule_5k,
    "viewers_500": viewers_500,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(
            f"There is no benchmark {', '.join(unknown)}. Known are: {', '.join(BENCHMARKS)}.",
            file=sys.stderr,
        )
        return 2
    measurements = []
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        measurements.append(BENCHMARKS[name]())
    print(table(measurements))
    keep(measurements, Path(__file__).with_name("latest.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
