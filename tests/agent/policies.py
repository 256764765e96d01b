"""Policy files of tests, and the files that they name."""

import json
from pathlib import Path
from typing import Any

from jobrunner.sync.signing import new_private_key_pem

IMAGE_ID = "sha256:" + "1" * 64


def policy(**changes: Any) -> dict[str, Any]:
    """A good policy as nested values. A change `a__b=1` sets `b` of section `a`; None takes it away."""
    values: dict[str, Any] = {
        "mode": "test",
        "backend": "site-one",
        "controller": {"url": "https://controller.example"},
        "folders": {"high": "high", "medium": "medium", "state": "state", "cache": "cache"},
        "git": {"allowed": ["https://git.example/org"]},
        # How full the disk of a test machine is must not decide whether jobs run.
        "host": {"least_free_percent": 1},
        "images": {"python:v2": {"id": IMAGE_ID, "entrypoint": ["/usr/local/bin/run-action", "python3"]}},
    }
    for place, value in changes.items():
        *sections, name = place.split("__")
        section = values
        for one in sections:
            section = section.setdefault(one, {})
        if value is None:
            section.pop(name, None)
        else:
            section[name] = value
    return values


def write_site(folder: Path, *, signers: str = "", credential: str = "c" * 40, **changes: Any) -> Path:
    """Write a policy file and all that it needs; returns the place of the policy file."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "agent.toml"
    place.write_text(toml(policy(**changes)))
    (folder / "agent_key.pem").write_bytes(new_private_key_pem())
    (folder / "agent_key.pem").chmod(0o600)
    (folder / "credential").write_text(credential + "\n")
    (folder / "credential").chmod(0o600)
    (folder / "allowed_signers").write_text(signers)
    for path in (place, folder / "allowed_signers"):
        path.chmod(0o644)
    return place


def toml(values: dict[str, Any], section: tuple[str, ...] = ()) -> str:
    """Nested values as TOML. Texts and lists of JSON are TOML too."""
    lines = [f"[{'.'.join(json.dumps(part) for part in section)}]"] if section else []
    lines += [
        f"{json.dumps(name)} = {json.dumps(value)}"
        for name, value in values.items()
        if not isinstance(value, dict)
    ]
    inner = [toml(value, (*section, name)) for name, value in values.items() if isinstance(value, dict)]
    return "\n".join([*lines, *inner]) + "\n"
