"""Small studies in work trees of their own, and the real command on them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.local.bench import label_of

GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def ran(self) -> list[str]:
        """Actions that ran, in the order in which they were started."""
        return [line.split(":")[0] for line in self.out.splitlines() if ": runs: " in line]

    def reason(self, action: str) -> str:
        """Why the action ran or did not."""
        lines = [line for line in self.out.splitlines() if line.startswith(f"{action}: ")]
        return lines[0].removeprefix(f"{action}: ")


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Put these files into the work tree."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def commit(root: Path) -> None:
    """Put all that git does not ignore under version control."""
    if not (root / ".git").exists():
        subprocess.run([*GIT, "init", "-q", "-b", "main", str(root)], check=True)
    subprocess.run([*GIT, "-C", str(root), "add", "-A"], check=True)
    subprocess.run([*GIT, "-C", str(root), "commit", "-q", "--allow-empty", "-m", "x"], check=True)


def environment(home: Path) -> dict[str, str]:
    """What the command is started with: nothing of the caller's but the path."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


def command(root: Path, *words: str) -> list[str]:
    """The words that run `jobrunner` on this work tree."""
    return [sys.executable, "-P", "-m", "jobrunner.cli.main", words[0], "--dir", str(root), *words[1:]]


def jobrunner(root: Path, *words: str, **variables: str) -> Done:
    """Run the real command: jobrunner(root, "run", "run_all"). `variables` are put into its environment."""
    done = subprocess.run(
        command(root, *words),
        env=environment(root.parent) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def left_behind(engine: Any, root: Path) -> list[str]:
    """What is still there of runs in this work tree: containers, folders, run folders."""
    label = label_of(root.resolve())
    listed = engine.containers(all=True, filters={"label": f"jobrunner.agent={label}"})
    found = [str(one["Names"]) for one in listed]
    for folder in (root.parent / ".cache" / "jobrunner" / "work" / label, root / ".jobrunner" / "collected"):
        found += [str(path) for path in folder.iterdir()] if folder.exists() else []
    return found
