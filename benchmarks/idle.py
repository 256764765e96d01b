"""What an agent costs that has nothing to do: it polls, keeps its connections, and waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import psutil

from benchmarks.jobs import IMAGE, NO_OP, site
from benchmarks.measure import Measurement

_STUDY: Final = {
    "project.yaml": (
        f"version: '5.0'\nactions:\n  a: {{run: '{IMAGE} {NO_OP[0]}', outputs: {{highly_sensitive: {{}}}}}}\n"
    )
}
_SETTLE_S: Final = 5
_WATCH_S: Final = 60
_TIMES: Final = 3


def idle_cpu_percent() -> Measurement:
    """Processor time of the agent and its processes, as a share of one core, over a minute."""
    return Measurement(
        "idle_cpu_percent", "idle agent, processor", _measured()[0], [], "under 0.1 % of a core", "%"
    )


def idle_rss_mib() -> Measurement:
    """Memory of the agent and its processes after a job; what they share is counted once (PSS)."""
    return Measurement(
        "idle_rss_mib", "idle agent, memory", _measured()[1], [], "under 57.2 MiB (60 MB)", "MiB"
    )


@cache
def _measured() -> tuple[list[float], list[float]]:
    with _idle_agent() as processes:
        shares, sizes = [], []
        for _ in range(_TIMES):
            began, before = time.monotonic(), _processor_s(processes)
            time.sleep(_WATCH_S)
            shares.append(100 * (_processor_s(processes) - before) / (time.monotonic() - began))
            sizes.append(sum(process.memory_full_info().pss for process in processes) / 2**20)
        resident = ", ".join(f"{process.memory_info().rss / 2**20:.1f}" for process in processes)
        print(f"  resident, shared pages in full, agent first: {resident} MiB")
        return shares, sizes


@contextmanager
def _idle_agent() -> Iterator[list[psutil.Process]]:
    with site(_STUDY, "a") as (world, _study, _engine, _image):
        agent = psutil.Process(world.agent_pid)
        time.sleep(_SETTLE_S)
        # Of a process that has ended only its number is left until the next job.
        children = agent.children(recursive=True)
        yield [agent, *(child for child in children if child.status() != psutil.STATUS_ZOMBIE)]


def _processor_s(processes: list[psutil.Process]) -> float:
    used = [process.cpu_times() for process in processes]
    return sum(times.user + times.system for times in used)
