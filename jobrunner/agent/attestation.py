"""What an attestation may say: a closed list, every value of a type that can carry nothing else.

An attestation leaves the site. So it names no path, no host, no person and no text of a program that ran:
what a canary saw becomes one of a few forms, and whatever has none of them "another answer than expected".
"""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobrunner.agent.canary import LIMITS
from jobrunner.agent.canary_findings import Tried
from jobrunner.executors.base import KIB, MIB, Limits

OTHER: Final = "another answer than expected"
_WORD: Final = re.compile(r"[A-Za-z0-9._+~-]{1,64}")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_USERS: Final = re.compile(r"([0-9]{1,10}) \1 ([0-9]{1,10}) \2")
_EXIT: Final = re.compile(r"exit [0-9]{1,3}")


class Running(StrEnum):
    """How the agent that runs now relates to what was tried."""

    NONE = "none runs now"
    SAME = "runs now, with this policy and this version"
    OTHER = "RUNS NOW WITH ANOTHER POLICY OR VERSION than was tried here; restart it"
    HALTED = "runs now, but is halted and takes no job; `agent status` says why"
    SILENT = "runs now and did not say with which policy"


class Standing(StrEnum):
    """How far it came with an image."""

    TRIED = "tried"
    ABSENT = "not in the engine, so no job can run in it"
    NO_PERL = "could not be tried, since it has no perl"
    BROKEN = "COULD NOT BE TRIED TO THE END; whoever ran this was told why"


@dataclass(frozen=True, slots=True)
class ImageTried:
    """One image of the policy, by all its names there, and what was tried in it."""

    names: tuple[str, ...]
    image_id: str
    standing: Standing
    tried: tuple[Tried, ...] = ()

    @property
    def held(self) -> int:
        """How many walls held."""
        return sum(one.held for one in self.tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Everything that is written down. `at` in seconds UTC; digests are sha256 in hex.

    `engine` holds names and versions of the engine's parts, `limits` what each job of the site gets.
    """

    site: str
    at: int
    mode: str
    version: str
    policy: str
    profile: str
    probe: str
    runtime: str
    engine: tuple[tuple[str, str], ...]
    kernel: str
    machine: str
    cgroup: int
    limits: Limits
    running: Running
    images: tuple[ImageTried, ...]

    @property
    def held(self) -> bool:
        """Whether something was tried, everything that was tried held, and nothing broke off."""
        tried = [image for image in self.images if image.standing is Standing.TRIED]
        broken = any(image.standing is Standing.BROKEN for image in self.images)
        return bool(tried) and not broken and all(image.held == len(image.tried) > 0 for image in tried)


def word(text: str) -> str:
    """A version or a name that has the form of one, else that it has not."""
    return text if _WORD.fullmatch(text) else "(of unknown form)"


_LIMITS: Final[Mapping[str, int]] = {
    "open_files": LIMITS.open_files,
    "files": LIMITS.inodes,
    "processes": LIMITS.pids,
    "tmp_bytes": LIMITS.tmp,
    "tmp_files": LIMITS.tmp_inodes,
    "shm_bytes": LIMITS.shm,
    "disk_bytes": LIMITS.disk,
}
_FIXED: Final[Mapping[tuple[str, str], str]] = {
    ("folder", "ok"): "it did",
    ("capabilities", "0" * 80): "it has none",
    ("no_new_privileges", "1"): "no program can give it more",
    ("filter", "2"): "the list is in force",
    ("interfaces", "lo"): "there is only loopback",
    ("disk_counters", "none"): "none can be read",
    ("load_counters", "none"): "none can be read",
    ("memory", "killed, out of memory"): f"killed, limit {LIMITS.memory // MIB} MiB",
    ("heard", "silence"): "the listener heard nothing",
    ("heard", "a caller"): "THE LISTENER HEARD IT",
    ("tree", "unchanged"): "unchanged for everybody else",
    ("tree", "changed"): "IT WAS CHANGED",
}
_ANYWHERE: Final = frozenset({"nothing was told", "unknown lines"})
_ERRORS: Final = frozenset(errno.errorcode.values())


def answer(one: Tried) -> str:
    """What happened, in one of the forms that may be written down."""
    seen = one.seen
    if (one.name, seen) in _FIXED:
        return _FIXED[one.name, seen]
    if seen in _ANYWHERE:
        return seen
    if seen == "it worked":
        return "IT WORKED"
    if seen in _ERRORS:
        return f"{os.strerror(getattr(errno, seen)).lower()} ({seen})"
    if one.name in _LIMITS and _DIGITS.fullmatch(seen):
        size = _size if one.name.endswith("_bytes") else str
        return f"stopped at {size(int(seen))}, limit {size(_LIMITS[one.name])}"
    if one.name.endswith("_counters") and _DIGITS.fullmatch(seen):
        return f"{int(seen)} CAN BE READ"
    if one.name == "user" and (users := _USERS.fullmatch(seen)):
        return f"user {users[1]}, group {users[2]}"
    if one.name == "memory" and _EXIT.fullmatch(seen):
        return f"IT WAS NOT KILLED: {seen}"
    return OTHER


def _size(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count // KIB} KiB"
