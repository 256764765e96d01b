"""What `jobrunner agent init` writes: a commented policy, the agent's key, an empty list of signers."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from jobrunner.agent.policy import PolicyProblem, Site, parse_policy
from jobrunner.sync.signing import new_private_key_pem, public_key_text

_TEMPLATE: Final = Path(__file__).with_name("agent.toml.template")
_IMAGE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+:[a-z0-9.-]+)=(?P<id>sha256:[0-9a-f]{64})")
_PLAIN: Final = re.compile(r"[^\"\\\x00-\x1f\x7f]+")

_SIGNERS: Final = """\
# Whose signatures count on approvals: one line for each key of a data controller.
# NAME namespaces="jobrunner-approval",valid-before="20301231Z" ssh-ed25519 AAAA...
"""

# Our own images carry a wrapper that puts the interpreter before a script (design.md section 10).
_WRAPPER: Final = "/usr/local/bin/run-action"
_INTERPRETERS: Final = {"python": "python3", "r": "Rscript"}


class AlreadyThere(Exception):
    """A file that would be overwritten; the text is its path."""


def write_first_files(
    folder: Path,
    *,
    backend: str,
    controller: str,
    mode: str,
    git: Sequence[str],
    data: Path,
    images: Sequence[str],
) -> str:
    """Write the files and return the public key as text. Nothing that exists is overwritten.

    Raises AlreadyThere, or PolicyProblem when the agent would not start with these values.
    """
    for text in (backend, controller, mode, str(data), *git):
        if _PLAIN.fullmatch(text) is None:
            raise PolicyProblem(f"{text!r} has a character that cannot stand here; leave it out.")
    sections = [_image_section(image) for image in images]
    policy = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        backend=backend,
        controller=controller,
        mode=mode,
        git=", ".join(f'"{prefix}"' for prefix in git),
        data=data,
        images="\n".join(sections) or _image_example(),
    )
    site = Site(parse_policy(policy.encode("utf-8"), folder / "agent.toml"), "", folder)
    site.git_rules()
    site.controller_url()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("agent.toml", "agent_key.pem", "allowed_signers"):
        if os.path.lexists(folder / name):
            raise AlreadyThere(folder / name)
    key = new_private_key_pem()
    _write(folder / "agent_key.pem", key, 0o600)
    _write(folder / "allowed_signers", _SIGNERS.encode("utf-8"), 0o644)
    _write(folder / "agent.toml", policy.encode("utf-8"), 0o644)
    return public_key_text(load_pem_private_key(key, password=None))  # type: ignore[arg-type]


def _image_section(text: str) -> str:
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise PolicyProblem(f"{text!r} is not NAME:VERSION=sha256:ID; `docker images --no-trunc` shows ids.")
    name, image_id = found["name"], found["id"]
    return f'[images."{name}"]\nid = "{image_id}"\nentrypoint = {_entrypoint(name)}\n'


def _entrypoint(name: str) -> str:
    """The TOML list of words that go before the words of `run`."""
    interpreter = _INTERPRETERS.get(name.split(":")[0])
    return json.dumps([_WRAPPER] if interpreter is None else [_WRAPPER, interpreter])


def _image_example() -> str:
    return (
        '# [images."python:v2"]\n# id = "sha256:<64 hex digits of the image id>"\n'
        f"# entrypoint = {_entrypoint('python:v2')}\n"
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
