"""The git of this machine: where it is, and whether it is new enough for our protections to act."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass

# Where programs are looked for, here and by git itself. The PATH of whoever started us plays no part.
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
# An older git drops safe.bareRepository (2.38) and http.curloptResolve (2.37) without a word.
_OLDEST = (2, 38)


class GitUnusable(RuntimeError):
    """There is no git here, or none that can be trusted with hostile repositories."""


@dataclass(frozen=True, slots=True)
class GitProgram:
    """Absolute paths of git and of `prlimit`, which sets its limits before it starts."""

    git: str
    prlimit: str


@functools.cache
def find_git() -> GitProgram:
    """Find both programs, once per process.

    Raises:
        GitUnusable: one is missing, or git is older than 2.38.
    """
    git, prlimit = shutil.which("git", path=SEARCH_PATH), shutil.which("prlimit", path=SEARCH_PATH)
    if git is None or prlimit is None:
        missing = "git" if git is None else "prlimit (package util-linux)"
        raise GitUnusable(f"Install {missing}: it is not in {SEARCH_PATH}.")
    said = subprocess.run(
        [git, "version"], env={"PATH": SEARCH_PATH}, capture_output=True, text=True, timeout=30, check=False
    ).stdout
    version = re.match(r"git version (\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST:
        raise GitUnusable(f"Install git 2.38 or later: {git} says {said.strip()!r}.")
    return GitProgram(git, prlimit)
