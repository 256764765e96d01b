"""The canary: before the agent takes jobs it tries the sandbox itself (threats.md section 2, row S12).

Two runs in the real sandbox with the real executor: one does an ordinary job and then attacks the walls one
by one, the other takes more memory than it may. What cannot be told counts as a wall that is open.
"""

import base64
import hashlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from jobrunner.agent import clock
from jobrunner.agent.canary_findings import Tried, judged
from jobrunner.agent.policy import Site
from jobrunner.executors.base import (
    JOB_UIDS,
    KIB,
    MIB,
    ActionRun,
    EngineError,
    Executor,
    Exit,
    Limits,
    SandboxRefused,
)

PROBE: Final = "canary_probe.pl"
# Small enough to be hit in a moment; that limits act does not depend on how large they are.
LIMITS: Final = Limits(
    pids=32, memory=128 * MIB, nano_cpus=1_000_000_000, disk=16 * MIB, inodes=1_000, wall_clock_s=30,
    shm=2 * MIB, tmp=4 * MIB, tmp_inodes=256, open_files=128, log_bytes=64 * KIB, stop_s=1,
)  # fmt: skip
_TOO_MUCH_MIB: Final = 256
_REPORT_LIMIT: Final = 16 * KIB
_NO_PERL: Final = 127


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a canary found. `problem` is empty when it could be run to its end; `at` is in seconds UTC."""

    runtime: str
    image_id: str
    at: int
    tried: tuple[Tried, ...]
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether every wall was tried and held."""
        return not self.problem and bool(self.tried) and all(one.held for one in self.tried)

    @property
    def sentence(self) -> str:
        """What is wrong, for the site's own people; empty when nothing is."""
        if self.passed:
            return ""
        open_walls = [f"{one.tried} ({one.seen})" for one in self.tried if not one.held]
        what = self.problem or f"these walls did not hold: {'; '.join(open_walls) or 'none was tried'}"
        return f"The sandbox of runtime {self.runtime} cannot be trusted here: {what}."


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where a canary runs, so that two at once do not meet: whose containers they are, its tree, its users.

    No slot has the last users of the pool.
    """

    agent_id: str
    tree: Path
    uids: tuple[int, int]


def own_grounds(site: Site) -> Grounds:
    """Those of the agent itself."""
    return Grounds(site.policy.backend, site.cache / "canary", (JOB_UIDS[-1], JOB_UIDS[-2]))


class NoPerl(Exception):
    """The image has no program that could run the probe."""


def candidates(site: Site, executor: Executor) -> list[str]:
    """Ids of the images that policy allows and the engine has, smallest first. Raises EngineError."""
    ids = sorted({image.id for image in site.policy.images.values()})
    sizes = {image_id: executor.image_size(image_id) for image_id in ids}
    return sorted(
        (i for i in ids if sizes[i] is not None), key=lambda image_id: (sizes[image_id] or 0, image_id)
    )


def examine(site: Site, executor: Executor) -> Verdict:
    """Try the sandbox of this site, with the smallest image that can run the probe. Never raises."""
    runtime = site.policy.sandbox.runtime
    try:
        images = candidates(site, executor)
    except (SandboxRefused, EngineError) as error:
        return Verdict(runtime, "", clock.now(), (), f"the canary could not be run: {error}")
    for image_id in images:
        try:
            return examine_in(image_id, site, executor, own_grounds(site))
        except NoPerl:
            continue
    why = "has perl, with which it is tried" if images else "of [images] is known to the engine"
    what_to_do = "load one, then say `jobrunner agent canary`"
    return Verdict(runtime, "", clock.now(), (), f"no image {why}; {what_to_do}")


def examine_in(image_id: str, site: Site, executor: Executor, grounds: Grounds) -> Verdict:
    """Try the sandbox with one image. Raises NoPerl when that cannot run the probe."""
    runtime = site.policy.sandbox.runtime
    try:
        tried = _try_walls(executor, image_id, runtime, grounds)
    except SandboxRefused as refused:
        problem = f"the canary was refused by {refused.detail}: {refused.message}"
        return Verdict(runtime, image_id, clock.now(), (), problem)
    except (EngineError, OSError) as error:
        return Verdict(runtime, image_id, clock.now(), (), f"the canary could not be run: {error}")
    return Verdict(runtime, image_id, clock.now(), tried)


def _try_walls(executor: Executor, image_id: str, runtime: str, grounds: Grounds) -> tuple[Tried, ...]:
    tree = _tree(grounds.tree)
    with _listening() as (name, heard), ThreadPoolExecutor(2) as both:
        walls = _run(grounds, image_id, runtime, grounds.uids[0], ("walls", name))
        memory = _run(grounds, image_id, runtime, grounds.uids[1], ("memory", str(_TOO_MUCH_MIB)))
        report = both.submit(_walls, executor, walls)
        ended = both.submit(_ended, executor, memory)
        tried = [*judged(report.result(), walls), _memory(ended.result())]
        silent = not heard()
        tried.append(
            Tried("heard", "be heard by a listener of the host", silent, "silence" if silent else "a caller")
        )
    given = (tree / "given.txt").read_bytes() == b"given\n"
    tried.append(
        Tried("tree", "change the tree that it was given", given, "unchanged" if given else "changed")
    )
    return tuple(tried)


def _run(grounds: Grounds, image_id: str, runtime: str, uid: int, words: Sequence[str]) -> ActionRun:
    return ActionRun(
        agent_id=grounds.agent_id,
        job_id=base64.b32encode(secrets.token_bytes(17)).decode("ascii")[:26].lower(),
        attempt=1,
        image_id=image_id,
        entrypoint=("perl",),
        argv=(f"/workspace/{PROBE}", *words),
        uid=uid,
        gid=uid,
        tree=grounds.tree,
        folders=("out",),
        limits=LIMITS,
        runtime=runtime,
    )


def _walls(executor: Executor, run: ActionRun) -> bytes:
    """The probe's report, as it lies in the job's outputs."""
    with _cleaned(executor, run):
        _require_ended(_to_end(executor, run))
        with executor.open_outputs(run) as folder:
            if _read(folder, "out/written.txt") != b"written\n":
                return b""
            return _read(folder, "out/seen.txt")


def _ended(executor: Executor, run: ActionRun) -> Exit:
    with _cleaned(executor, run):
        return _to_end(executor, run)


def _memory(ended: Exit) -> Tried:
    seen = "killed, out of memory" if ended.out_of_memory else f"exit {ended.status}"
    return Tried("memory", "take more memory than the limit", ended.out_of_memory, seen)


@contextmanager
def _cleaned(executor: Executor, run: ActionRun) -> Iterator[None]:
    try:
        yield
    finally:
        executor.clean_up(run)


def _to_end(executor: Executor, run: ActionRun) -> Exit:
    executor.prepare(run)
    executor.start(run)
    return executor.wait(run, float(LIMITS.wall_clock_s))


def _require_ended(ended: Exit) -> None:
    if ended.status == _NO_PERL:
        raise NoPerl
    if ended.status or ended.out_of_time:
        raise EngineError(f"its probe ended with status {ended.status}")


def _read(folder: int, name: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        return file.read(_REPORT_LIMIT)


def _tree(folder: Path) -> Path:
    """The lower layer of both runs, with the modes that checked trees have."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in ((PROBE, probe_text()), ("given.txt", b"given\n")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o666)
    folder.chmod(0o777)
    return folder


def probe_text() -> bytes:
    """The program that runs inside."""
    return files(__package__).joinpath(PROBE).read_bytes()


def probe_digest() -> str:
    """Sha256 of the program that runs inside, in hex."""
    return hashlib.sha256(probe_text()).hexdigest()


@contextmanager
def _listening() -> Iterator[tuple[str, Callable[[], bool]]]:
    """An abstract socket of the host that nobody but this host can find, and whether somebody came."""
    name = f"jobrunner-canary-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"\0{name}")
        server.listen()
        server.setblocking(False)

        def heard() -> bool:
            try:
                peer, _address = server.accept()
            except BlockingIOError:
                return False
            peer.close()
            return True

        yield name, heard
