"""What all actions of one local run share, and how all of it is ended at once."""

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jobrunner.executors.base import GIB, JOB_UIDS, ActionRun, EngineError, Limits
from jobrunner.executors.docker_copy import CopyExecutor
from jobrunner.local.outcome import Cancelled
from jobrunner.privacy.confined_process import Launcher

_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_CORES: Final = 2
_TLS: Final = ("DOCKER_TLS_VERIFY", "DOCKER_TLS")
_STOP_S: Final = 3
# The checks read what a job wrote; for root, as a user that no job has.
_CHECKING_UID: Final = JOB_UIDS[-1]


@dataclass
class Bench:
    """The engine, the helper processes, and the limits. Make it with `opened`."""

    executor: CopyExecutor
    launcher: Launcher
    limits: Limits
    label: str
    # Held from the look at who owns a path until the record says that it is owned.
    landing: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: dict[str, ActionRun] = field(default_factory=dict)
    _uids: list[int] = field(default_factory=lambda: list(JOB_UIDS[:-1]))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def user(self) -> Iterator[tuple[int, int]]:
        """Uid and gid for one action: the caller's own, and for root a pair that no other action has."""
        if os.geteuid() != 0:
            yield os.geteuid(), os.getegid()
            return
        with self._lock:
            uid = self._uids.pop(0)
        try:
            yield uid, uid
        finally:
            with self._lock:
                self._uids.append(uid)

    @property
    def checking_user(self) -> int:
        """Uid and gid of the processes that check outputs; without root they keep the caller's."""
        return _CHECKING_UID

    def check_wanted(self) -> None:
        """Raise Cancelled once the person asked for the end."""
        if self._stopping.is_set():
            raise Cancelled

    def start(self, run: ActionRun) -> None:
        """Start a prepared run so that `stop` finds it. Raises Cancelled, EngineError, SandboxRefused."""
        with self._lock:
            self.check_wanted()
            self._running[run.name] = run
        self.executor.start(run)
        if self._stopping.is_set():
            # Whoever asked may have looked for the container before it ran.
            self.executor.stop(run)

    def forget(self, run: ActionRun) -> None:
        """The run is over and cleaned up."""
        with self._lock:
            self._running.pop(run.name, None)

    def stop(self) -> None:
        """End every container of this run, all at the same time. Returns when they are dead."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())
        if running:
            with ThreadPoolExecutor(len(running)) as together:
                list(together.map(self.executor.stop, running))


def open_executor(root: Path) -> CopyExecutor:
    """The executor for a work tree, at the engine of DOCKER_HOST or of the usual socket.

    Raises SandboxRefused, EngineError.
    """
    address = os.environ.get("DOCKER_HOST") or None
    if address and not address.startswith("unix:") and any(os.environ.get(name) for name in _TLS):
        raise EngineError("an engine behind TLS cannot be used here: unset DOCKER_HOST, or name a socket")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    work = Path(cache).resolve() / "jobrunner" / "work" / label_of(root)
    return CopyExecutor(work, address)


@contextmanager
def opened(executor: CopyExecutor, root: Path) -> Iterator[Bench]:
    """A bench for this work tree; whatever a run that was killed left behind is removed first.

    Only one at a time for each tree. Raises EngineError.
    """
    label = label_of(root)
    executor.sweep(label, keep=())
    cores, memory = executor.capacity()
    launcher = Launcher()
    limits = Limits(
        nano_cpus=min(_CORES, cores) * 1_000_000_000, memory=min(Limits().memory, memory), stop_s=_STOP_S
    )
    try:
        yield Bench(executor, launcher, limits, label)
    finally:
        launcher.stop()
        executor.sweep(label, keep=())


def places(executor: CopyExecutor, jobs: int | None) -> int:
    """How many actions run at once: as asked, else one for each core, and never more than users for them."""
    cores, memory = executor.capacity()
    return min(jobs or max(1, min(cores, memory // GIB)), len(JOB_UIDS) - 1)


def label_of(root: Path) -> str:
    """What marks containers and folders of this work tree and this user."""
    whose = os.fsencode(root) + b"\0" + str(os.geteuid()).encode("ascii")
    return f"local-{hashlib.sha256(whose).hexdigest()[:16]}"


def new_job_id() -> str:
    """26 base32 signs, as the executor wants them."""
    return "".join(secrets.choice(_BASE32) for _ in range(26))
