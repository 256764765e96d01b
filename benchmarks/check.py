"""What a check costs: reading against the C loader alone, a whole process against `python -c pass`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.measure import Measurement, scratch

#: The real files, where they lie beside this tree.
_CORPUS: Final = Path(__file__).parents[2] / "shared" / "corpus" / "project_yaml"

_ACTION: Final = """\
  action_{n}:
    run: >
      r:v2 analysis/model_{n}.R --label "wave {n}"
      --input output/fit_{before}.rds --output output/table_{n}.csv
    needs: [{needs}]
    config:
      title: "It's wave {n}"
      groups: [a, b, c]
      seed: {n}
    outputs:
      highly_sensitive:
        fit: output/fit_{n}.rds
      moderately_sensitive:
        table: output/table_{n}*.csv
        log: logs/wave_{n}.log
"""


def study_text(actions: int) -> bytes:
    """A valid file of so many actions, each of which needs the one before it."""
    parts = ["version: '5.0'\nactions:\n"]
    for n in range(actions):
        needs = f"action_{n - 1}" if n else ""
        parts.append(_ACTION.format(n=n, before=max(0, n - 1), needs=needs))
    return "".join(parts).encode()


def check_10() -> Measurement:
    """A check of 10 actions."""
    return _read("check_10", study_text(10), runs=200)


def check_200() -> Measurement:
    """A check of 200 actions."""
    return _read("check_200", study_text(200), runs=20)


def check_1000() -> Measurement:
    """A check of 1,000 actions."""
    return _read("check_1000", study_text(1000), runs=7)


def check_corpus() -> Measurement:
    """A check of the largest real file; of 1,000 actions again where there are none."""
    files = sorted(_CORPUS.glob("*.yaml"), key=lambda path: path.stat().st_size)
    return _read("check_corpus", files[-1].read_bytes() if files else study_text(1000), runs=7)


def check_cold() -> Measurement:
    """The whole process `jobrunner check` on 10 actions, with modules compiled as when installed."""
    with scratch() as folder:
        file = Path(folder) / "project.yaml"
        file.write_bytes(study_text(10))
        environment = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        ours = (sys.executable, "-m", "jobrunner.cli.main", "check", str(file))
        floor = (sys.executable, "-c", "pass")
        _process(ours, environment)
        pairs = [(_process(ours, environment), _process(floor, environment)) for _ in range(15)]
    what = "whole process, 10 actions, against python -c pass"
    return Measurement(
        "check_cold", what, [a for a, _ in pairs], [b for _, b in pairs], "at most floor + 150 ms"
    )


def _read(name: str, text: bytes, runs: int) -> Measurement:
    """Ours and the floor in turn, so that what else the machine does slows both."""
    import yaml

    from jobrunner.pipeline import load

    def floor() -> object:
        return yaml.load(text, yaml.CSafeLoader)

    pairs = [(_seconds(lambda: load(text)), _seconds(floor)) for _ in range(runs)]
    what = f"check of {len(text):,} bytes against the C loader alone"
    return Measurement(name, what, [a for a, _ in pairs], [b for _, b in pairs], "at most 3 x floor")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _process(command: tuple[str, ...], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began
