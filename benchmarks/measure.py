"""A measurement against its floor, and how it is printed and kept."""

import json
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# A disk: /tmp may be memory, or a folder where a day's tests have left the file system with much to skip.
_SCRATCH = "/var/tmp"  # noqa: S108 (a folder of our own is made there)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for what a measurement writes, which goes with it."""
    return tempfile.TemporaryDirectory(prefix="jobrunner-bench-", dir=_SCRATCH)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds of each run of ours and of the floor (empty where there is none); `goal` is what we aim at.

    Where `unit` is another than s, they are numbers of that unit.
    """

    name: str
    what: str
    seconds: Sequence[float]
    floor_seconds: Sequence[float]
    goal: str
    unit: str = "s"

    @property
    def median(self) -> float:
        """Median of our runs."""
        return statistics.median(self.seconds)

    @property
    def floor(self) -> float | None:
        """Median of the floor's runs."""
        return statistics.median(self.floor_seconds) if self.floor_seconds else None

    @property
    def ratio(self) -> float | None:
        """Ours to the floor."""
        return None if not self.floor else self.median / self.floor

    def told(self, number: float) -> str:
        """A number of this measurement with its unit."""
        if self.unit != "s":
            return f"{number:.3f} {self.unit}"
        return f"{number:.3f} s" if number >= 0.1 else f"{number * 1000:.2f} ms"


def table(measurements: Iterable[Measurement]) -> str:
    """All measurements as lines of text."""
    lines = [f"{'name':<18} {'median':>11} {'floor':>11} {'ratio':>6} {'runs':>4}  goal"]
    for one in measurements:
        floor = "-" if one.floor is None else one.told(one.floor)
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(
            f"{one.name:<18} {one.told(one.median):>11} {floor:>11} {ratio:>6} "
            f"{len(one.seconds):>4}  {one.goal}"
        )
    return "\n".join(lines)


def keep(measurements: Iterable[Measurement], path: Path) -> None:
    """Write `{name: {median, floor, ratio, runs}}` as JSON, in the unit of each; others that it has stay."""
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    content |= {
        one.name: {"median": one.median, "floor": one.floor, "ratio": one.ratio, "runs": len(one.seconds)}
        for one in measurements
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
