"""The calls to a Docker engine that the executor needs, each with a deadline and typed errors."""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, Final

from jobrunner.executors.base import EngineError, Found, SandboxRefused
from jobrunner.executors.engine_line import BadAddress, EngineLine, LineBroken, Refused, part

_DEADLINE_S: Final = 120
# What its answers cause here where they are not what they should be.
_IMPROPER: Final = (
    HTTPException, OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
# In what an engine says that took the place of another one while we spoke with that: no job is wrong.
_OTHER_VERSION: Final = "client version"
_HEADER: Final = struct.Struct(">xxxxL")
# Where engines keep the cgroup of a container, by cgroupfs and by systemd: there under cgroup v2, and in
# each hierarchy below under v1.
_CGROUP_ROOT: Final = "/sys/fs/cgroup"
_CGROUPS: Final = ("docker/{id}", "system.slice/docker-{id}.scope")


class NameTaken(EngineError):
    """A container of this name is there already."""


class Engine:
    """One engine. Every call raises EngineError when there is no proper answer in time."""

    def __init__(self, url: str | None = None) -> None:
        try:
            with _errors("connect"):
                self._line = EngineLine(url, timeout=_DEADLINE_S)
        except BadAddress as error:
            raise EngineError(str(error)) from error

    def close(self) -> None:
        """Give the connections back."""
        self._line.close()

    def filters_calls(self) -> bool:
        """Whether containers get a seccomp list unless they bring their own."""
        with _errors("ask for its security options"):
            options = self._line.ask("GET", "/info").get("SecurityOptions") or []
        seccomp = [option for option in options if option.startswith("name=seccomp")]
        return bool(seccomp) and not any("unconfined" in option for option in seccomp)

    def version(self) -> str:
        """Versions of the engine and of the parts that it runs containers with, in one line."""
        with _errors("ask for its version"):
            told = self._line.ask("GET", "/version")
            parts = sorted((one["Name"], one["Version"]) for one in told.get("Components") or [])
            return " ".join(f"{name}={version}" for name, version in parts) or str(told["Version"])

    def image(self, image_id: str) -> Mapping[str, Any] | None:
        """What the engine says of an image; None when there is none of this id."""
        with _errors("inspect the image"):
            found = self._found(f"/images/{part(image_id)}/json")
        if found is None:
            return None
        return found if found.get("Id") == image_id else None

    def id_of(self, name: str) -> str | None:
        """Id of the image that has this name and tag now; None when none has."""
        with _errors("look for the image"):
            found = self._found(f"/images/{part(name)}/json")
            return None if found is None else str(found["Id"])

    def capacity(self) -> tuple[int, int]:
        """Cores, and bytes of memory, of the machine that the engine runs on."""
        with _errors("ask for its size"):
            info = self._line.ask("GET", "/info")
            return int(info["NCPU"]), int(info["MemTotal"])

    def create(self, name: str, body: dict[str, Any]) -> tuple[str, list[str]]:
        """Make a container; returns its id and the engine's warnings. Raises SandboxRefused, NameTaken."""
        with _errors("create the container"):
            try:
                made = self._line.ask("POST", "/containers/create", {"name": name}, body)
            except Refused as error:
                if error.status == _NOT_FOUND:
                    raise SandboxRefused("image", f"the engine has no image {body['Image']}") from error
                if error.status == _CONFLICT:
                    raise NameTaken(f"there is a container {name} already") from error
                raise
            return str(made["Id"]), list(made.get("Warnings") or [])

    def start(self, container: str) -> None:
        """Start a container. Raises SandboxRefused when the engine finds a setting wrong only now."""
        with _errors("start the container"):
            self._line.ask("POST", f"/containers/{part(container)}/start")

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Everything the engine knows of a container; None when there is none."""
        with _errors("inspect the container"):
            return self._found(f"/containers/{part(name)}/json")

    def wait(self, name: str, seconds: float) -> None:
        """Return when the container has stopped, or after `seconds`; the caller looks which it was."""
        with _errors("wait for the container"):
            until = {"condition": "not-running"}
            try:
                with _if_there():
                    self._line.ask(
                        "POST", f"/containers/{part(name)}/wait", until, timeout=max(seconds, 0.001)
                    )
            except LineBroken:
                return

    def stop(self, name: str, grace_s: int) -> None:
        """TERM, and kill after `grace_s`. Returns when it is dead; nothing happens where it is not there."""
        with _errors("stop the container"), _if_there():
            self._line.ask(
                "POST",
                f"/containers/{part(name)}/stop",
                {"t": str(grace_s)},
                timeout=_DEADLINE_S + grace_s,
            )

    def log(self, name: str) -> Iterator[bytes]:
        """Stdout and stderr in the order in which the engine got them, piece by piece."""
        with _errors("read the log"), _if_there():
            asked = {"stdout": "1", "stderr": "1"}
            with self._line.stream(f"/containers/{part(name)}/logs", asked) as answer:
                yield from _pieces(answer)

    def remove(self, name: str, *, force: bool) -> None:
        """Remove a container; without `force` a running one stays. Nothing happens where there is none."""
        with _errors("remove the container"), _if_there():
            try:
                self._line.ask("DELETE", f"/containers/{part(name)}", {"force": "1" if force else "0"})
            except Refused as error:
                if error.status != _CONFLICT:  # runs, or somebody else removes it right now
                    raise

    def containers(self, agent_id: str) -> list[Found]:
        """Containers with the label of this agent."""
        with _errors("list the containers"):
            wanted = json.dumps({"label": [f"jobrunner.agent={agent_id}"]})
            listed = self._line.ask_for_list("/containers/json", {"all": "1", "filters": wanted})
            return [
                Found(
                    name=entry["Names"][0].removeprefix("/"),
                    job_id=entry["Labels"].get("jobrunner.job", ""),
                    attempt=int(entry["Labels"].get("jobrunner.attempt", "0")),
                    running=entry["State"] in ("running", "paused", "restarting"),
                )
                for entry in listed
                if entry["Labels"].get("jobrunner.agent") == agent_id
            ]

    def _found(self, path: str) -> dict[str, Any] | None:
        with _if_there():
            return self._line.ask("GET", path)
        return None


def cgroup_is_gone(container_id: str) -> bool:
    """Whether no cgroup of this container is left, so that no process of it can be."""
    with os.scandir(_CGROUP_ROOT) as found:
        roots = [_CGROUP_ROOT, *(entry.path for entry in found if entry.is_dir(follow_symlinks=False))]
    names = [form.format(id=container_id) for form in _CGROUPS]
    return not any(os.path.lexists(f"{root}/{name}") for root in roots for name in names)


def _pieces(raw: HTTPResponse) -> Iterator[bytes]:
    """The pieces of a log without a terminal: each is 1 byte of kind, 3 empty ones, 4 of length, and itself.

    Raises EngineError when the engine stops in the middle of one.
    """
    while header := raw.read(_HEADER.size):
        if len(header) == _HEADER.size:
            (length,) = _HEADER.unpack(header)
            piece = raw.read(length)
            if len(piece) == length:
                yield piece
                continue
        raise EngineError("could not read the log: the engine stopped in the middle of it")
    if raw.length:
        raise EngineError("could not read the log: the engine stopped before the end that it said")


@contextmanager
def _if_there() -> Iterator[None]:
    """Nothing happens where the engine knows nothing of this name."""
    try:
        yield
    except Refused as error:
        if error.status != _NOT_FOUND:
            raise


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.status == _BAD_REQUEST and _OTHER_VERSION not in str(error):
            detail = "runtime" if "runtime specified" in str(error) else "sandbox"
            raise SandboxRefused(detail, f"the engine would not {doing}: {error}") from error
        raise EngineError(f"could not {doing}: {error}") from error
    except _IMPROPER as error:
        raise EngineError(f"could not {doing}: the engine gave no proper answer ({error})") from error
