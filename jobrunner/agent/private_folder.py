"""Folders that nobody but the agent may look into."""

import os
from pathlib import Path

from jobrunner.agent.policy import PolicyProblem


def make_private(folder: Path, setting: str) -> None:
    """Make a folder that only the agent's own user can look into; raises PolicyProblem if others can."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    info = folder.stat()
    if info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PolicyProblem(f"{setting}: others can look into {folder}; chown it to root, chmod it to 0700.")
