"""What `jobrunner agent init` writes: a commented policy, the agent's key, an empty list of signers."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from jobrunner.agent.database_policy import ANY
from jobrunner.agent.folder_policy import check_folders
from jobrunner.agent.policy import PolicyProblem, Site, parse_policy
from jobrunner.pipeline.model import DATABASE_WORDS, RUNTIMES
from jobrunner.sync.signing import new_private_key_pem, public_key_text

_TEMPLATE: Final = Path(__file__).with_name("agent.toml.template")
_IMAGE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+:[a-z0-9.-]+)=(?P<id>sha256:[0-9a-f]{64})")
_DATABASE: Final = re.compile(r"(?P<kind>sqlite|duckdb)=(?P<path>.+)")
_PLAIN: Final = re.compile(r"[^\"\\\x00-\x1f\x7f]+")

_SIGNERS: Final = """\
# Whose signatures count on approvals: one line for each key of a data controller.
# NAME namespaces="jobrunner-approval",valid-before="20301231Z" ssh-ed25519 AAAA...
"""

# Our own images carry a wrapper that puts the interpreter before a script (design.md section 10).
_WRAPPER: Final = "/usr/local/bin/run-action"
_INTERPRETERS: Final = {"python": "python3", "r": "Rscript", "sqlrunner": "sqlrunner"}


@dataclass(frozen=True, slots=True)
class FirstDatabase:
    """The database of a new site. `file` is KIND=PATH; `images` are names that have an id of their own."""

    file: str
    dataset: str
    images: tuple[str, ...]
    public: bool


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
    database: FirstDatabase | None = None,
) -> str:
    """Write the files and return the public key as text. Nothing that exists is overwritten.

    Raises AlreadyThere, or PolicyProblem when the agent would not start with these values.
    """
    for text in (backend, controller, mode, str(data), *git):
        if _PLAIN.fullmatch(text) is None:
            raise PolicyProblem(f"{text!r} has a character that cannot stand here; leave it out.")
    named = [_image(image) for image in images]
    sections = [_image_section(name, image_id) for name, image_id in named]
    policy = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        backend=backend,
        controller=controller,
        mode=mode,
        git=", ".join(f'"{prefix}"' for prefix in git),
        data=data,
        database=_database_example() if database is None else _database_section(database, dict(named)),
        images="\n".join(sections) or _image_example(),
    )
    site = Site(parse_policy(policy.encode("utf-8"), folder / "agent.toml"), "", folder.absolute())
    site.git_rules()
    check_folders(site, folder / "agent.toml")
    site.check_database()
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


def _image(text: str) -> tuple[str, str]:
    """Name and id of NAME:VERSION=sha256:ID."""
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise PolicyProblem(f"{text!r} is not NAME:VERSION=sha256:ID; `docker images --no-trunc` shows ids.")
    return found["name"], found["id"]


def _image_section(name: str, image_id: str) -> str:
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


_DATABASE_SECTION: Final = Template("""\
[database]
# What an approval must name in its datasets.
dataset = "$dataset"
# sqlite or duckdb.
kind = "$kind"
file = "$file"
# true: everybody may read it. Only then may controller and git be http on loopback (modes dev and test).
public = $public
# How many database actions run at once.
slots = 1
# Image id -> "any", or a list of the first arguments that may have it.
[database.images]
$images
""")


def _database_example() -> str:
    """The section with every setting commented out."""
    section = _DATABASE_SECTION.substitute(
        dataset="slug",
        kind="sqlite",
        file="/srv/data/db.sqlite",
        public="false",
        images=f'"sha256:<64 hex digits of the image id>" = {_first_words("ehrql:v1")}',
    )
    lines = section.splitlines()
    return "".join(line + "\n" if line.startswith("# ") else f"# {line}\n" for line in lines)


def _database_section(database: FirstDatabase, ids: Mapping[str, str]) -> str:
    found = _DATABASE.fullmatch(database.file)
    if found is None or _PLAIN.fullmatch(database.file) is None:
        raise PolicyProblem(f"{database.file!r} is not sqlite=PATH or duckdb=PATH.")
    if _PLAIN.fullmatch(database.dataset) is None:
        raise PolicyProblem(f"{database.dataset!r} is no dataset; write a slug such as `flchain`.")
    for name in database.images:
        if name not in ids:
            raise PolicyProblem(f"database image {name}: there is no such --image; give its id with one.")
    return _DATABASE_SECTION.substitute(
        dataset=database.dataset,
        kind=found["kind"],
        file=Path(found["path"]).absolute(),
        public=str(database.public).lower(),
        images="\n".join(f'"{ids[name]}" = {_first_words(name)}' for name in database.images),
    )


def _first_words(name: str) -> str:
    """As TOML, the first arguments that make a database action of this image (project-yaml.md 6.5)."""
    image = name.split(":")[0]
    if image not in RUNTIMES or image not in DATABASE_WORDS:
        raise PolicyProblem(f"database image {name}: only actions of ehrql and sqlrunner read a database.")
    words = DATABASE_WORDS[image]
    return json.dumps(ANY if words is None else sorted(words))


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
