"""The folder of a demo: what lies where, and what it keeps from one run to the next."""

import fcntl
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

PROJECT: Final = "flchain"
BRANCH: Final = "main"

_MADE_BY: Final = "jobrunner demo"
# Below the range that the kernel hands out by itself, so that a kept port stays free.
_PORTS: Final = range(20000, 30000)
_PARTS: Final = (
    "study",
    "git",
    "data-controller",
    "site",
    "site-data",
    "site-database",
    "controller",
    "logs",
)


class DemoProblem(Exception):
    """The demo cannot go on; the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What must stay the same from run to run: addresses are part of the approval.

    `backend` differs from folder to folder, since an agent clears away what else bears its name.
    `image_ids` are those in the agent's policy, by name, empty before there are any. `ready` is set when
    everything was registered.
    """

    backend: str
    git_port: int
    controller_port: int
    image_ids: Mapping[str, str] = field(default_factory=dict)
    ready: bool = False


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Paths below the demo's folder."""

    root: Path

    @property
    def notes(self) -> Path:
        """What is kept between runs, see Kept."""
        return self.root / "demo.json"

    @property
    def study(self) -> Path:
        """The researcher's checkout of the study."""
        return self.root / "study"

    @property
    def git(self) -> Path:
        """What the git host serves."""
        return self.root / "git"

    @property
    def data_controller(self) -> Path:
        """The pretend data controller's desk: key and approval."""
        return self.root / "data-controller"

    @property
    def site(self) -> Path:
        """The agent's policy and keys."""
        return self.root / "site"

    @property
    def site_data(self) -> Path:
        """What lies inside the data centre: high, medium, state, cache."""
        return self.root / "site-data"

    @property
    def database(self) -> Path:
        """The data centre's database."""
        return self.root / "site-database" / "flchain.sqlite"

    @property
    def controller(self) -> Path:
        """The controller's database and key."""
        return self.root / "controller"

    @property
    def logs(self) -> Path:
        """What the programs say."""
        return self.root / "logs"

    @property
    def researcher(self) -> Path:
        """The researcher's settings, to be sourced by a shell."""
        return self.root / "researcher.env"

    @property
    def last_request(self) -> Path:
        """The id of the request that the demo made last."""
        return self.root / "last-request"


@contextmanager
def opened(root: Path) -> Iterator[tuple[DemoFolder, Kept]]:
    """The folder, made if missing, for this process alone. Raises DemoProblem.

    A folder that something else made is refused; what an interrupted first run left is made anew.
    """
    folder = DemoFolder(root.absolute())
    if root.exists() and not root.is_dir():
        raise DemoProblem(f"{root} is not a folder. Name another one with DEMO_DIR.")
    if root.is_dir() and any(root.iterdir()) and not folder.notes.exists():
        raise DemoProblem(f"{root} holds something that is not a demo. Name another folder with DEMO_DIR.")
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise DemoProblem(f"another demo runs in {root}. Stop it, or name another folder.") from error
    try:
        yield folder, _kept(folder)
    finally:
        os.close(lock)


def keep(folder: DemoFolder, kept: Kept) -> None:
    """Write down what the next run needs."""
    draft = folder.notes.with_suffix(".new")
    draft.write_text(json.dumps({"made_by": _MADE_BY, **asdict(kept)}, indent=1) + "\n", encoding="utf-8")
    draft.replace(folder.notes)


def _kept(folder: DemoFolder) -> Kept:
    if folder.notes.exists():
        try:
            fields = json.loads(folder.notes.read_text(encoding="utf-8"))
            made_by = fields.pop("made_by")
            kept = Kept(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DemoProblem(f"{folder.notes} cannot be read. Remove the folder and start anew.") from error
        if made_by != _MADE_BY:
            raise DemoProblem(f"{folder.root} is not a demo's folder. Name another one with DEMO_DIR.")
        if kept.ready:
            _require_free(kept.git_port)
            _require_free(kept.controller_port)
            return kept
        for part in _PARTS:
            shutil.rmtree(folder.root / part, ignore_errors=True)
    git_port = _free_port()
    kept = Kept(f"demo-{secrets.token_hex(4)}", git_port, _free_port(other_than=git_port))
    keep(folder, kept)
    return kept


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do it: an old connection that lingers is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _require_free(port: int) -> None:
    if not _is_free(port):
        raise DemoProblem(
            f"port {port} of this demo is taken by another program. End that, or name another folder."
        )


def _free_port(other_than: int = 0) -> int:
    for _ in range(100):
        port = secrets.choice(_PORTS)
        if port != other_than and _is_free(port):
            return port
    raise DemoProblem("no free port was found between 20000 and 30000.")
