"""Whether the users that jobs run as are nobody else's on this machine (threats.md rows P17, S10).

Who has a job's uid on the host reads its workspace and its memory through /proc. An account gets it by being
that user, or by a range of subordinate ids: in a user namespace of its own it may be each user of the range.
"""

import grp
import pwd
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.agent.policy import PolicyProblem
from jobrunner.executors.base import JOB_UIDS

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_POOL: Final = f"{JOB_UIDS[0]}-{JOB_UIDS[-1]}"


def _user_named(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _group_named(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where a machine says who may be which user and group. A file that is absent gives nobody anything."""

    subuid: Path = Path("/etc/subuid")
    subgid: Path = Path("/etc/subgid")
    user_named: Callable[[int], str | None] = _user_named
    group_named: Callable[[int], str | None] = _group_named


THIS_MACHINE: Final = Accounts()


def shared_ids(accounts: Accounts = THIS_MACHINE) -> list[str]:
    """One sentence for each line of the two files, and for the first user and group, in the way of the pool.

    Empty means that the ids of jobs are nobody's. What cannot be read or told counts as in the way.
    """
    return [
        *_ranges(accounts.subuid, "subuids", "uids"),
        *_ranges(accounts.subgid, "subgids", "gids"),
        *_names("user", "uid", accounts.user_named),
        *_names("group", "gid", accounts.group_named),
    ]


def check_ids(mode: str, accounts: Accounts = THIS_MACHINE) -> list[str]:
    """What is in the way, for a site that may start all the same: one without real data.

    Raises PolicyProblem in mode production.
    """
    found = shared_ids(accounts)
    if found and mode == "production":
        raise PolicyProblem(" ".join(found))
    return found


def _ranges(file: Path, option: str, kind: str) -> Iterator[str]:
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        yield f"uid pool: {file} cannot be read; make it a text file that root can read."
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        owner, *numbers = line.split(":")
        if not owner or len(numbers) != 2 or not all(_NUMBER.fullmatch(one) for one in numbers):
            yield f"uid pool: line {number} of {file} is not NAME:FIRST:COUNT; correct or remove it."
            continue
        first, count = int(numbers[0]), int(numbers[1])
        last = first + count - 1
        if max(first, JOB_UIDS[0]) <= min(last, JOB_UIDS[-1]):
            yield (
                f"uid pool: line {number} of {file} gives {owner!r} the {kind} {first}-{last}, and jobs have "
                f"{_POOL}, so that account could read what a job reads; give it another range (usermod "
                f"--del-{option} {first}-{last} --add-{option} FIRST-LAST), or remove the line."
            )


def _names(what: str, kind: str, named: Callable[[int], str | None]) -> Iterator[str]:
    for number in JOB_UIDS:
        name = named(number)
        if name is not None:
            yield (
                f"uid pool: the {what} {name!r} has {kind} {number}, and jobs have {_POOL}, so it could read "
                f"what a job reads; give that {what} another {kind}."
            )
            return
