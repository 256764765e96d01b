"""The study of the demo as a git repository: a checkout to work in, and the bare one that is served."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from jobrunner import templates
from jobrunner.demo.folder import BRANCH, PROJECT, DemoFolder, DemoProblem

_NAME: Final = "Demo Researcher"
_EMAIL: Final = "researcher@example.org"


def template() -> Path:
    """The folder of the study. Raises DemoProblem when this program came without it."""
    try:
        return templates.template("python")
    except templates.TemplateProblem as problem:
        raise DemoProblem(str(problem)) from problem


def make(folder: DemoFolder, url: str) -> None:
    """Make both repositories, with one commit of the template.

    `url` is where the bare one will be served; the checkout fetches from there and pushes to the folder.
    """
    bare = folder.git / PROJECT
    bare.mkdir(parents=True)
    _git(bare, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}")
    shutil.copytree(template(), folder.study, ignore=shutil.ignore_patterns("__pycache__"))
    _git(folder.study, "init", "--quiet", f"--initial-branch={BRANCH}")
    # So that whoever tries the demo can commit in it.
    _git(folder.study, "config", "user.name", _NAME)
    _git(folder.study, "config", "user.email", _EMAIL)
    _git(folder.study, "add", "--all")
    _git(folder.study, "commit", "--quiet", "--message", "Study survival by serum free light chains")
    _git(folder.study, "remote", "add", "origin", url)
    _git(folder.study, "remote", "set-url", "--push", "origin", str(bare))
    _git(folder.study, "push", "--quiet", "--set-upstream", "origin", BRANCH)


def head(folder: DemoFolder) -> str:
    """The commit of the served branch, 40 hex digits."""
    return _git(folder.git / PROJECT, "rev-parse", "--verify", f"refs/heads/{BRANCH}")


def _git(folder: Path, *words: str) -> str:
    """Run git in `folder` without anybody's configuration."""
    # The same files always give the same commit: who, when and what are fixed.
    stamp = {"NAME": _NAME, "EMAIL": _EMAIL, "DATE": "2026-11-01T00:00:00Z"}
    environment = {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in stamp.items()},
    }
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise DemoProblem("git is not installed. Run deploy/setup first.") from error
    if done.returncode != 0:
        raise DemoProblem(f"git {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
