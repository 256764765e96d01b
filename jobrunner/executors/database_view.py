"""How one attempt sees the database file: through a read-only overlay of its own.

<attempt>/database/link/database   hard link to the site's file
<attempt>/database/none/           the second layer that an overlay without an upper one must have
<attempt>/database/seen/           where the overlay is mounted; seen/database goes into the sandbox

Only names of attempts stand in these paths, since a job can read them in mountinfo. The overlay gives every
attempt an inode of its own: on a shared one two jobs could send each other bytes by locks, or watch each
other by inotify (threats.md section 8, S07).
"""

import os
from pathlib import Path
from typing import Final

from jobrunner.executors import mounts
from jobrunner.executors.base import SandboxRefused
from jobrunner.executors.database import Database, fault_of

_NAME: Final = "database"


def file_of(folder: Path) -> Path:
    """The file to be mounted into the sandbox, after `show`."""
    return folder / "seen" / _NAME


def show(folder: Path, database: Database) -> None:
    """Make the view. Raises SandboxRefused when the file cannot be handed out, OSError.

    The file is looked at again for each run, and by its link: what is checked is what is mounted.
    """
    link = folder / "link" / _NAME
    try:
        if not _is_shown(folder, link, database):
            hide(folder)
            for name in ("", "link", "none", "seen"):
                (folder / name).mkdir(mode=0o700)
            os.link(database.path, link, follow_symlinks=False)
        fault = fault_of(database, link)
    except OSError as error:
        fault = f"{database.path} cannot be shown to the job: {error.strerror}"
    if fault is not None:
        raise SandboxRefused("database", f"{fault}.")
    if not mounts.is_mounted(folder / "seen"):
        mounts.mount_layers([folder / "link", folder / "none"], folder / "seen")


def hide(folder: Path) -> None:
    """Take the view away; nothing happens where there is none. Raises OSError."""
    mounts.unmount(folder / "seen")
    (folder / "link" / _NAME).unlink(missing_ok=True)
    for name in ("link", "none", "seen", ""):
        if (folder / name).exists():
            (folder / name).rmdir()


def _is_shown(folder: Path, link: Path, database: Database) -> bool:
    """Whether the view is there from before the agent was killed, and of the file that is meant now."""
    return mounts.is_mounted(folder / "seen") and link.exists() and link.samefile(database.path)
