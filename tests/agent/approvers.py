"""Data controllers of tests: real SSH keys, real signatures by ssh-keygen."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.sync.approvals import NAMESPACE, canonical

NOW = int(time.time())


@dataclass(frozen=True, slots=True)
class Approver:
    """A person with an SSH key pair."""

    name: str
    key: Path

    @classmethod
    def create(cls, folder: Path, name: str, key: str | None = None) -> "Approver":
        """Make a new key pair in `folder`."""
        place = folder / f"key-of-{key or name}"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(place)], check=True
        )
        return cls(name, place)

    @property
    def public(self) -> str:
        """Type and base64 of the public key."""
        return " ".join(self.key.with_suffix(".pub").read_text().split()[:2])

    def line(self, options: str = f'namespaces="{NAMESPACE}"') -> str:
        """A line for a file of allowed signers."""
        return f"{self.name} {options} {self.public}\n"

    def sign(self, text: str, *, namespace: str = NAMESPACE) -> str:
        """An armoured signature of the text."""
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.key)],
            input=text.encode(),
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()


def payload(**changes: Any) -> dict[str, Any]:
    """What a data controller allows; `changes` replace fields."""
    return {
        "approval_id": "heart-study-1",
        "serial": 1,
        "project": "heart-study",
        "sites": ["site-one"],
        "repos": ["https://git.example/org/heart"],
        "branches": ["main"],
        "commits": "on_branch",
        "actions": "all",
        "database": False,
        "datasets": [],
        "not_before": NOW - 3600,
        "not_after": NOW + 3600,
    } | changes


def envelope(content: dict[str, Any] | str, *approvers: Approver) -> str:
    """An approval as the controller carries it."""
    text = content if isinstance(content, str) else canonical(content)
    return json.dumps({"payload": text, "signatures": [one.sign(text) for one in approvers]})
