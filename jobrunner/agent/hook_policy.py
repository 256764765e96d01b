"""The [hook] section of the site's policy: a program of the site that may refuse jobs (threats.md section 6).

It runs as the agent's own user, so nobody else may be able to change it or to put another in its place.
"""

import os
import stat
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class HookSection(BaseModel):
    """Which program is asked about each job, and how many seconds it has for its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    program: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    deadline_s: Annotated[int, Field(ge=1, le=300)] = 10


def fault_of_program(program: Path) -> str | None:
    """What is wrong with the hook's file, after the name of the setting; None for a good one.

    `program` has no link on its way. Every folder above counts, since its owner could replace the file; where
    a folder's sticky bit is set, only the owner of what lies in it can.
    """
    try:
        info = program.lstat()
        above = [(folder, folder.lstat()) for folder in program.parents]
    except OSError as error:
        return f"{program} cannot be read ({error.strerror}); name the program, or take [hook] out"
    if not stat.S_ISREG(info.st_mode):
        return f"{program} is not a file; name a program"
    if info.st_uid not in (0, os.geteuid()):
        return f"{program} belongs to another user; chown it to root"
    if info.st_mode & _OTHERS_WRITE:
        return f"others can change {program}; chmod it go-w"
    if not info.st_mode & stat.S_IXUSR:
        return f"{program} is not executable; chmod it 0755"
    for folder, about in above:
        if about.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to another user, who can replace the program; chown it to root"
        if about.st_mode & _OTHERS_WRITE and not about.st_mode & stat.S_ISVTX:
            return f"others can change {folder} and so replace the program; chmod it go-w"
    return None
