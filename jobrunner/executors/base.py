"""The contract of an executor, the limits of a run, and the sandbox profile as data.

The profile is threats.md section 2 with the keys of the engine's create call. An entry is a plain
value, or a getter that takes its value from the run. What is not named here keeps the engine's
empty default, and the read-back after create says so.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import BinaryIO, Final, Protocol

from jobrunner.executors.database import VARIABLE, Database
from jobrunner.executors.hidden_paths import HIDDEN
from jobrunner.executors.seccomp import allowed_calls

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# One pair of uid and gid per slot. Never 0, never the agent's own, never a person's.
JOB_UIDS: Final = range(200_000, 200_256)

_AGENT_ID = re.compile(r"[a-z0-9-]{1,40}")
_JOB_ID = re.compile(r"[a-z2-7]{26}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_SAFE_PATH = re.compile(r"/[A-Za-z0-9/._+-]*")


class SandboxRefused(Exception):
    """The sandbox cannot be had as the profile asks, so nothing was started.

    `detail` is one word of a closed list for the journal: sandbox (the walls), volume (the image
    declares one), runtime, image (it is not here), database (the file cannot be handed out), disk_low.
    `message` is for the operator; it never leaves the site.
    """

    def __init__(self, detail: str, message: str) -> None:
        super().__init__(f"{detail}: {message}")
        self.detail = detail
        self.message = message


class EngineError(Exception):
    """The engine or the host did not answer in time, or failed. The call may be made again."""


class ContainerLost(EngineError):
    """The engine has no container of this attempt any more, or it was never started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one attempt may use. Sizes in bytes. Site policy may lower each (threats.md section 2)."""

    pids: int = 512
    memory: int = 8 * GIB  # there is no swap on top
    nano_cpus: int = 2_000_000_000  # 1e9 is one processor
    disk: int = 20 * GIB
    inodes: int = 1_000_000
    wall_clock_s: int = 86_400
    shm: int = 256 * MIB
    tmp: int = 512 * MIB
    tmp_inodes: int = 65_536
    open_files: int = 4_096
    file_size: int = 10 * GIB
    log_bytes: int = 20 * MIB
    stop_s: int = 10  # between TERM and kill

    def __post_init__(self) -> None:
        for limit in fields(self):
            if getattr(self, limit.name) < 1:
                raise ValueError(f"limit {limit.name} must be at least 1")

    @property
    def threads(self) -> str:
        """How many threads numeric libraries should start, as text for the environment."""
        return str(max(1, self.nano_cpus // 1_000_000_000))

    @property
    def tmp_options(self) -> str:
        """Mount options of /tmp."""
        return f"rw,nosuid,nodev,noexec,size={self.tmp},nr_inodes={self.tmp_inodes},mode=1777"

    @property
    def log_file(self) -> str:
        """Size of each of the two files that the engine keeps of a log, as the engine wants it."""
        return str(max(1, self.log_bytes // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRun:
    """One attempt of one job, fully decided by the agent.

    `tree` is the checked tree of the commit, `inputs` the view of pinned inputs above it; both are
    only read. `folders` are made in the job's own layer before it starts. `environment` holds only
    what site policy keeps for this image. `database` is what a database action may read, None for
    every other action. Raises ValueError when a field has a form that could not be put safely into a
    name, a path or a mount option.
    """

    agent_id: str
    job_id: str
    attempt: int
    image_id: str
    entrypoint: tuple[str, ...]
    argv: tuple[str, ...]
    uid: int
    gid: int
    tree: Path
    inputs: Path | None = None
    folders: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    runtime: str = "runc"
    database: Database | None = None

    def __post_init__(self) -> None:
        if not _AGENT_ID.fullmatch(self.agent_id):
            raise ValueError("agent_id must be 1 to 40 of a-z, 0-9 and -")
        if not _JOB_ID.fullmatch(self.job_id):
            raise ValueError("job_id must be 26 base32 characters in lower case")
        if not 1 <= self.attempt <= 99:
            raise ValueError("attempt must be 1 to 99")
        if not _IMAGE_ID.fullmatch(self.image_id):
            raise ValueError("image_id must be sha256: and 64 hex digits, never a name")
        if not self.entrypoint and not self.argv:
            raise ValueError("there is nothing to run")
        if any("\0" in word for word in (*self.entrypoint, *self.argv)):
            raise ValueError("a word of the command has a NUL in it")
        for name, value in self.environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"environment name {name!r} cannot be set")
        if VARIABLE in self.environment:
            raise ValueError(f"{VARIABLE} is set for a database alone")
        for folder in self.folders:
            check_folder(folder)
        for path in (self.tree, *([self.inputs] if self.inputs else [])):
            check_mountable(path)

    @property
    def name(self) -> str:
        """Name of the container and the folder of this attempt."""
        return f"jr-{self.job_id}-{self.attempt}"

    @property
    def user(self) -> str:
        """User and group as the engine wants them."""
        return f"{self.uid}:{self.gid}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything that this attempt leaves in the engine."""
        return {
            "jobrunner.agent": self.agent_id,
            "jobrunner.job": self.job_id,
            "jobrunner.attempt": str(self.attempt),
        }


def check_folder(folder: str) -> None:
    """Raise ValueError unless `folder` is relative, plain and stays inside the workspace."""
    parts = folder.split("/")
    if "\0" in folder or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"folder {folder!r} is not a plain relative path")


def check_mountable(path: Path) -> None:
    """Raise ValueError unless `path` is absolute and needs no escape in an overlay's options."""
    if not _SAFE_PATH.fullmatch(str(path)) or ".." in PurePosixPath(path).parts:
        raise ValueError(f"path {str(path)!r} must be absolute, of letters, digits and . _ + - only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended. `status` is 0 to 255; times are seconds since 1970, UTC, of the engine's clock."""

    status: int
    out_of_memory: bool
    out_of_time: bool
    out_of_disk: bool
    started: int
    finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A container of this agent, as the engine knows it."""

    name: str
    job_id: str
    attempt: int
    running: bool


def ulimit(name: str, value: object) -> Mapping[str, object]:
    """Soft and hard limit of one kind."""
    return MappingProxyType({"Name": name, "Soft": value, "Hard": value})


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProfile:
    """The walls around a run: `config` and `host` with the engine's keys, and the whole environment.

    `seccomp` is the list of allowed system calls as inline JSON, in place of the engine's own.
    `database_mount` and `database_environment` come on top for a run with a database, and for no other.
    The sources of its mounts are the attempt's own: its workspace, and its view of the database file.
    """

    config: Mapping[str, object]
    host: Mapping[str, object]
    environment: Mapping[str, object]
    database_mount: Mapping[str, object]
    database_environment: Mapping[str, object]
    readonly_paths: frozenset[str]
    seccomp: str


PROFILE: Final = SandboxProfile(
    config=MappingProxyType(
        {
            "Image": attrgetter("image_id"),
            "Labels": attrgetter("labels"),
            "User": attrgetter("user"),
            "Entrypoint": attrgetter("entrypoint"),
            "Cmd": attrgetter("argv"),
            "WorkingDir": "/workspace",
            "Hostname": "job",
            "Healthcheck": MappingProxyType({"Test": ("NONE",)}),
            "StopSignal": "SIGTERM",
            "StopTimeout": attrgetter("limits.stop_s"),
        }
    ),
    host=MappingProxyType(
        {
            "NetworkMode": "none",
            # A dead address: unset, the host's resolver shows inside even without a network.
            "Dns": ("192.0.2.1",),
            "DnsSearch": (".",),
            "IpcMode": "private",
            "ShmSize": attrgetter("limits.shm"),
            "CgroupnsMode": "private",
            "CapDrop": ("ALL",),
            "SecurityOpt": ("no-new-privileges:true",),
            "MaskedPaths": HIDDEN,
            "ReadonlyRootfs": True,
            "Tmpfs": MappingProxyType({"/tmp": attrgetter("limits.tmp_options")}),  # noqa: S108
            "PidsLimit": attrgetter("limits.pids"),
            "Memory": attrgetter("limits.memory"),
            "MemorySwap": attrgetter("limits.memory"),
            "NanoCpus": attrgetter("limits.nano_cpus"),
            # No nproc: it counts per uid of the whole host.
            "Ulimits": (
                ulimit("nofile", attrgetter("limits.open_files")),
                ulimit("core", 0),
                ulimit("fsize", attrgetter("limits.file_size")),
                ulimit("memlock", 65_536),
                ulimit("msgqueue", 0),
            ),
            "LogConfig": MappingProxyType(
                {
                    "Type": "local",
                    "Config": MappingProxyType(
                        {
                            "max-size": attrgetter("limits.log_file"),
                            "max-file": "2",
                            "compress": "false",
                            "mode": "blocking",
                        }
                    ),
                }
            ),
            "Init": True,
            "Runtime": attrgetter("runtime"),
            "RestartPolicy": MappingProxyType({"Name": "no"}),
            "Mounts": (
                MappingProxyType(
                    {
                        "Type": "bind",
                        "Target": "/workspace",
                        "BindOptions": MappingProxyType({"Propagation": "rprivate"}),
                    }
                ),
            ),
        }
    ),
    environment=MappingProxyType(
        {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/tmp",  # noqa: S108
            "TMPDIR": "/tmp",  # noqa: S108
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOSTNAME": "job",
            "OMP_NUM_THREADS": attrgetter("limits.threads"),
        }
    ),
    database_mount=MappingProxyType(
        {
            "Type": "bind",
            "Target": attrgetter("database.target"),
            "ReadOnly": True,
            "BindOptions": MappingProxyType({"Propagation": "rprivate"}),
        }
    ),
    database_environment=MappingProxyType({VARIABLE: attrgetter("database.url")}),
    # The engine's own defaults; a newer engine may close more, never less.
    readonly_paths=frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}),
    seccomp=allowed_calls(),
)


class Executor(Protocol):
    """Runs attempts. Every call may be made again after the agent was killed at any point.

    All calls raise EngineError when the engine does not answer or fails, and SandboxRefused when
    the sandbox cannot be had as asked.
    """

    def image_present(self, image_id: str) -> bool:
        """Whether the engine has the image of exactly this id, or had it before; `prepare` finds it gone."""
        ...

    def image_size(self, image_id: str) -> int | None:
        """Bytes of the image of exactly this id; None when the engine has none now."""

    def engine_version(self) -> str:
        """What the engine says of itself: another text means another engine."""

    def prepare(self, run: ActionRun) -> None:
        """Make the attempt's disk, its workspace and its container, and compare that with the profile.

        Nothing runs yet.
        """
        ...

    def start(self, run: ActionRun) -> None:
        """Start the container that `prepare` made, or make it again after the agent was killed in between.

        If it runs or has ended already, nothing happens. If it was created and never started, it is
        made again. Needs `prepare` before.
        """
        ...

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        """Wait for the end and stop the run when its time is over.

        `deadline_s` is the time left in seconds from now; None means the wall-clock limit counted
        from the start of the run in boot time. Raises ContainerLost when there is nothing to wait for.
        """
        ...

    def stop(self, run: ActionRun) -> None:
        """End the run: TERM, then kill. Returns when it is dead and its cgroup is gone."""
        ...

    def save_log(self, run: ActionRun, destination: BinaryIO | int, limit: int = 20 * MIB) -> None:
        """Write the last `limit` bytes of stdout and stderr, in order, to a file or a descriptor."""
        ...

    def open_outputs(self, run: ActionRun) -> AbstractContextManager[int]:
        """Descriptor of the folder that holds what the job wrote, on a read-only mount.

        Raises EngineError while the job's container still runs.
        """
        ...

    def clean_up(self, run: ActionRun) -> None:
        """Remove container, mounts and disk of this attempt. Outputs are gone after this."""
        ...

    def make_ready(self, limits: Limits) -> None:
        """Make ahead what all runs with these limits will need."""
        ...

    def find(self, agent_id: str) -> list[Found]:
        """Containers of this agent, running or not."""
        ...

    def sweep(self, agent_id: str, keep: Collection[str]) -> list[str]:
        """Remove what this agent left, except attempts whose name is in `keep`. Returns their names."""
        ...
