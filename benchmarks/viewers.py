"""Five hundred people watch: how long after its commit each of them sees a change, and what they cost.

The viewers are real connections from a process of their own (`python -m benchmarks.viewers URL COUNT`), which
prints `{event id: [when each viewer received it, in seconds since 1970]}` once its input ends.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks.measure import Measurement, scratch
from tests.fixtures.controller_sites import Site, served_sites

VIEWERS: Final = 500
_ROUNDS: Final = 10
_FROM_ELSEWHERE: Final = 5
_ALL_ARRIVE_S: Final = 3
_IDLE_S: Final = 5
_JOB: Final = re.compile(rb"id: ([0-9]+)\nevent: job\n")


def viewers_500() -> Measurement:
    """From the commit of an event to its receipt: of each of ten rounds, the p95 over events and viewers.

    A round has nine events that the serving process commits for the agents' API, and five that another
    process writes into the database. They count from the time in their row, which is just before the commit.
    """
    with (
        scratch() as folder,
        served_sites(Path(folder), count=1) as (site,),
    ):
        job = site.ask("other")["jobs"][0]["job_id"]
        site.agent().run(job)
        serving = _serving(site)
        alone = serving.memory_info().rss
        with _watching(site) as watching:
            each_kib = (serving.memory_info().rss - alone) / VIEWERS / 1024
            idle = serving.cpu_percent(_IDLE_S)
            before, marks = _processor_s(serving), [_newest(site)]
            for _ in range(_ROUNDS):
                _round(site, job)
                marks.append(_newest(site))
            time.sleep(_ALL_ARRIVE_S)
            each_event = (_processor_s(serving) - before) / (marks[-1] - marks[0])
            said, _ = watching.communicate()
        delays = _delays(site, json.loads(said), marks)
    print(
        f"  a viewer costs {each_kib:.0f} KiB, and all of them {idle:.1f} % of a core while nothing happens"
    )
    print(f"  an event costs {each_event * 1000:.1f} ms of processor time, with the call that caused it")
    what = f"commit to receipt, p95 of {VIEWERS} viewers"
    return Measurement("viewers_500", what, [_p95(some) for some in delays], [], "p95 within 1 s")


@contextmanager
def _watching(site: Site) -> Iterator["subprocess.Popen[str]"]:
    """The process of the viewers, once all of them watch."""
    command = [sys.executable, "-m", "benchmarks.viewers", site.server.url, str(VIEWERS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "watching\n":
                raise RuntimeError("the viewers could not all connect")
            yield process
        finally:
            process.kill()


def _round(site: Site, job: str) -> None:
    agent = site.agent()
    for action in ("extract", "other", "extract"):
        agent.run(site.ask(action, force=True)["jobs"][0]["job_id"])
    for _ in range(_FROM_ELSEWHERE):
        site.server.query(
            "INSERT INTO jobs_jobevent (job_id, at, state, reason, attempt)"
            " SELECT id, ?, 'running', 'executing', 1 FROM jobs_job WHERE job_id = ?",
            datetime.now(UTC).replace(tzinfo=None).isoformat(" "),
            job,
        )
        # Not a divisor of the time after which the server looks.
        time.sleep(0.13)


def _delays(site: Site, received: dict[str, list[float]], marks: list[int]) -> list[list[float]]:
    """Seconds from commit to receipt, for each round; raises RuntimeError when somebody was not told."""
    rounds: list[list[float]] = [[] for _ in marks[1:]]
    for event, at in site.server.query("SELECT id, at FROM jobs_jobevent WHERE id > ?", marks[0]):
        times = received.get(str(event), [])
        if len(times) != VIEWERS:
            raise RuntimeError(f"event {event} reached {len(times)} viewers of {VIEWERS}")
        committed = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        rounds[bisect_left(marks, event) - 1] += [moment - committed for moment in times]
    return rounds


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _newest(site: Site) -> int:
    return int(site.server.query("SELECT max(id) FROM jobs_jobevent")[0][0])


def _serving(site: Site) -> psutil.Process:
    if site.server.process is None:
        raise RuntimeError("the controller does not run")
    return psutil.Process(site.server.process.pid)


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _watch(url: str, count: int) -> dict[int, list[float]]:
    """Watch with many connections until the input ends."""
    received: dict[int, list[float]] = {}
    parts = urlsplit(url)
    joined = asyncio.Semaphore(0)

    async def view() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET /feed/events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"\n\n")
        joined.release()
        while True:
            found = _JOB.search(await reader.readuntil(b"\n\n"))
            if found:
                received.setdefault(int(found[1]), []).append(time.time())

    tasks = [asyncio.create_task(view()) for _ in range(count)]
    for _ in tasks:
        await joined.acquire()
    print("watching", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return received


if __name__ == "__main__":
    json.dump(asyncio.run(_watch(sys.argv[1], int(sys.argv[2]))), sys.stdout)
