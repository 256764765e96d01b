"""An approval in plain words: who may run what, where, until when."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobrunner.cli.approval_file import ApprovalFile

_DAY_S: Final = 86400
# The last second that a date can be written for; approvals count further than that.
_LAST_SECOND: Final = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 1


def words(approval: "ApprovalFile", now: int) -> Iterator[str]:
    """Its lines. `now` in seconds UTC."""
    from jobrunner.sync.ssh_signatures import signer_fingerprint

    payload = approval.payload
    yield f"Approval {payload.approval_id}, serial {payload.serial}, of project {payload.project}."
    yield ""
    every = payload.actions == "all"
    yield from _field("may run", ["every action of the study"] if every else payload.actions)
    yield from _field("of", payload.repos)
    yield from _field("on branch", payload.branches)
    if payload.commits == "on_branch":
        yield from _field("at", ["every commit that is on the branch then, those to come as well"])
    else:
        yield from _field("at", [f"commit {commit}" for commit in payload.commits])
    yield from _field("in", payload.sites)
    yield from _field("database", _database(payload.database, payload.datasets))
    yield from _field("from", [_moment(payload.not_before)])
    yield from _field("until", [f"{_moment(payload.not_after)}, {_left(payload.not_after - now)}"])
    keys = [signer_fingerprint(one) or "a key that cannot be read" for one in approval.signatures]
    yield from _field("signed by", keys or ["nobody yet: it counts nowhere"])
    if keys:
        yield ""
        yield "Whether these keys did sign it, and count at a site, `jobrunner approval verify` says."


def _field(name: str, values: Sequence[str]) -> Iterator[str]:
    for number, value in enumerate(values):
        yield f"  {'' if number else name:<10} {value}"


def _database(allowed: bool, datasets: Sequence[str]) -> Sequence[str]:
    if not allowed:
        return [f"none, although {', '.join(datasets)} is named" if datasets else "none"]
    return [f"dataset {one}" for one in datasets] or ["none, since no dataset is named"]


def _moment(second: int) -> str:
    return datetime.fromtimestamp(min(second, _LAST_SECOND), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _left(seconds: int) -> str:
    if seconds <= 0:
        return "WHICH IS OVER"
    days = seconds // _DAY_S
    return "less than a day from now" if days == 0 else f"{days} day{'s' * (days > 1)} from now"
