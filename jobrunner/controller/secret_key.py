"""The key that signs attempt tokens: made at the first start, readable by its owner only."""

import os
import secrets
from pathlib import Path

from jobrunner.controller.configuration import ConfigurationProblem


def ensure(path: Path) -> str:
    """The key in `path`, made with mode 0600 where there is none.

    Raises ConfigurationProblem when others may read the file.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read(path)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_urlsafe(64) + "\n")
    return read(path)


def read(path: Path) -> str:
    """The key in `path`; raises ConfigurationProblem when it cannot be read or others may read it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationProblem("SECRET_KEY_FILE", f"{path} cannot be read.") from error
    if mode & 0o077:
        raise ConfigurationProblem("SECRET_KEY_FILE", f"others may read {path}; run `chmod 600 {path}`.")
    return text
