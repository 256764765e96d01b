"""The folders of one attempt: its disk, the upper layer that the job writes, and what is read after.

<work>/attempts/<name>/   agent (a link that names the owner), disk.img, disk/ (mount point), ready, late,
                          workspace/ (mount point of the overlay that the job gets as /workspace),
                          database/ (database_view.py, for a run with one)
<work>/blanks/            an empty disk of each size, to be copied
<work>/uids/<uid>         a link that names the attempt which has this uid now

Only names of attempts stand in these paths, since a job can read them in mountinfo.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.executors import database_view, disks, mounts
from jobrunner.executors.base import JOB_UIDS, ActionRun, EngineError, SandboxRefused, check_mountable

# Fewer free blocks than this, and a write of ordinary size has failed.
_FULL_BELOW_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one attempt lives below the agent's work folder."""

    work: Path
    name: str

    @property
    def root(self) -> Path:
        return self.work / "attempts" / self.name

    @property
    def image(self) -> Path:
        return self.root / "disk.img"

    @property
    def disk(self) -> Path:
        return self.root / "disk"

    @property
    def upper(self) -> Path:
        return self.disk / "upper"

    @property
    def scratch(self) -> Path:
        return self.disk / "work"

    @property
    def seen(self) -> Path:
        return self.root / "workspace"

    @property
    def ready(self) -> Path:
        return self.root / "ready"

    @property
    def late(self) -> Path:
        return self.root / "late"

    @property
    def database(self) -> Path:
        return self.root / "database"

    @property
    def database_file(self) -> Path:
        return database_view.file_of(self.database)

    @property
    def owner(self) -> Path:
        return self.root / "agent"


def open_work(work: Path) -> None:
    """Make the folders that all attempts share. Raises SandboxRefused for a path that cannot be mounted."""
    try:
        check_mountable(work)
    except ValueError as error:
        raise SandboxRefused("sandbox", f"the work folder cannot be used: {error}") from error
    for folder in ("attempts", "blanks", "uids"):
        (work / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    work.chmod(0o700)
    disks.clear(work / "blanks")


def claim(space: Workspace, run: ActionRun) -> None:
    """Take what the attempt needs before its container can be described: uid, folder, view of the database.

    Raises SandboxRefused, OSError; EngineError while another attempt has the uid.
    """
    claim_uid(space, run)
    space.root.mkdir(mode=0o700, exist_ok=True)
    if not space.owner.is_symlink():
        space.owner.symlink_to(run.agent_id)
    # Nobody may write here but through what is mounted on it.
    space.seen.mkdir(mode=0o000, exist_ok=True)
    if run.database is not None:
        database_view.show(space.database, run.database)


def make(space: Workspace, run: ActionRun) -> None:
    """Make and mount the attempt's disk and the overlay above it; after `claim`.

    Its upper layer and the folders there are of the job's own uid. Once `ready` is there the layers are never
    touched again: the job may have written to them.
    Raises SandboxRefused, OSError.
    """
    is_new = not space.image.exists()
    if is_new:
        disks.take(space.work / "blanks", run.limits, space.image)
    space.disk.mkdir(mode=0o700, exist_ok=True)
    if not mounts.is_mounted(space.disk):
        if not is_new and mounts.is_attached(space.image):
            # Mounting it a second time would destroy it.
            raise SandboxRefused(
                "sandbox",
                f"the disk of {space.name} is in use where the agent cannot see it; restart the host",
            )
        mounts.mount_image(space.image, space.disk)
    if not space.ready.exists():
        _make_layers(space, run)
        space.ready.touch(mode=0o600)
    if not mounts.is_mounted(space.seen):
        lower = [run.tree] if run.inputs is None else [run.inputs, run.tree]
        mounts.mount_overlay(lower, space.upper, space.scratch, space.seen)


def is_made(space: Workspace) -> bool:
    """Whether `make` did all of its work, and what it mounted is still there."""
    return space.ready.exists() and mounts.is_mounted(space.seen)


def claim_uid(space: Workspace, run: ActionRun) -> None:
    """Take the run's uid for this attempt alone. Raises SandboxRefused (threats.md section 8, S10).

    Raises EngineError while another attempt has it.
    """
    if run.uid not in JOB_UIDS or run.gid not in JOB_UIDS:
        raise SandboxRefused(
            "sandbox", f"a job runs as a uid and gid from {JOB_UIDS[0]} to {JOB_UIDS[-1]}, not as {run.user}"
        )
    if os.getuid() in (run.uid, run.gid):
        raise SandboxRefused("sandbox", "a job never runs as the agent's own user")
    claim = space.work / "uids" / str(run.uid)
    try:
        claim.symlink_to(space.name)
    except FileExistsError:
        holder = str(claim.readlink())
        if holder != space.name:
            # It passes when the other is cleaned up, so it is no fault of the sandbox.
            raise EngineError(f"uid {run.uid} belongs to {holder} until that is cleaned up") from None


def freeze(space: Workspace) -> None:
    """Take the overlay away and make the disk read-only. Only when no process of the job is left.

    Raises OSError.
    """
    mounts.unmount(space.seen)
    if not mounts.is_mounted(space.disk):  # the host was restarted since
        mounts.mount_image(space.image, space.disk)
    mounts.remount_read_only(space.disk)


@contextmanager
def open_upper(space: Workspace) -> Iterator[int]:
    """Descriptor of the upper layer's root, after `freeze`. Raises OSError, SandboxRefused."""
    descriptor = os.open(space.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.fstatvfs(descriptor).f_flag
        for wanted in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC):
            if not flags & wanted:
                raise SandboxRefused("sandbox", "the outputs are not on a read-only mount")
        yield descriptor
    finally:
        os.close(descriptor)


def is_full(space: Workspace) -> bool:
    """Whether the disk has no block or no inode left. False when it is not mounted."""
    if not mounts.is_mounted(space.disk):
        return False
    disk = os.statvfs(space.disk)
    return disk.f_bavail < _FULL_BELOW_BLOCKS or disk.f_favail == 0


def clean_up(space: Workspace) -> None:
    """Remove mounts, disk and folders of the attempt and give its uid back. Raises OSError."""
    mounts.unmount(space.seen)
    mounts.unmount(space.disk)
    database_view.hide(space.database)
    # By name and never through the mount point: what is not ours makes the last rmdir fail.
    for leaf in (space.ready, space.late, space.image):
        leaf.unlink(missing_ok=True)
    for claim, holder in _claims(space.work):
        if holder == space.name:
            claim.unlink(missing_ok=True)
    if space.root.exists():
        for folder in (space.seen, space.disk):
            if folder.exists():
                folder.rmdir()
        space.owner.unlink(missing_ok=True)
        space.root.rmdir()


def _claims(work: Path) -> Iterator[tuple[Path, str]]:
    """Each uid that an attempt has now, with its holder."""
    for claim in (work / "uids").iterdir():
        try:
            yield claim, str(claim.readlink())
        except FileNotFoundError:
            continue  # another attempt is being cleaned up at this moment


def owned_by(work: Path, agent_id: str) -> list[str]:
    """Names of the attempts that this agent has folders or uids for."""
    names = {holder for _claim, holder in _claims(work)}
    for root in (work / "attempts").iterdir():
        owner = root / "agent"
        if owner.is_symlink() and str(owner.readlink()) != agent_id:
            names.discard(root.name)
        else:
            names.add(root.name)
    return sorted(names)


def _make_layers(space: Workspace, run: ActionRun) -> None:
    space.disk.chmod(0o700)
    space.scratch.mkdir(mode=0o700, exist_ok=True)
    _make_own(space.upper, run)
    for folder in run.folders:
        path = space.upper
        for part in folder.split("/"):
            path = path / part
            _make_own(path, run)


def _make_own(path: Path, run: ActionRun) -> None:
    path.mkdir(mode=0o755, exist_ok=True)
    path.chmod(0o755)  # whatever the umask is
    os.chown(path, run.uid, run.gid, follow_symlinks=False)
