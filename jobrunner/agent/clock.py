"""Time for people, and whether the machine is still the one that was started (threats.md section 7)."""

import time
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def now() -> int:
    """Whole seconds UTC."""
    return int(time.time())


@cache
def boot_id() -> str:
    """Changes with every start of the machine; containers and mounts of an older one are gone."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def until_grain(grain_s: int) -> float:
    """Seconds until the next multiple of the site's grain; 0 where the grain is one second."""
    return 0.0 if grain_s == 1 else grain_s - time.time() % grain_s


def coarse(second: int, grain_s: int) -> int:
    """The second rounded down to the site's grain, so that less can be told by timing."""
    return second - second % grain_s
