"""What the researcher's commands read of the controller's answers; another version may answer otherwise.

A shape is a type, a list of one shape, a mapping of the keys that must be there to their shapes (more may be
there), or one of the two below.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final


class Moment:
    """A date and time as ISO 8601 writes it."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """What fits `shape`, or null."""

    shape: Any


def fits(value: object, shape: Any) -> bool:
    """Whether a value of JSON has all that `shape` names."""
    if isinstance(shape, Maybe):
        return value is None or fits(value, shape.shape)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            key in value and fits(value[key], inner) for key, inner in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(entry, shape[0]) for entry in value)
    if shape is Moment:
        return isinstance(value, str) and _is_moment(value)
    return type(value) is shape


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


_JOB: Final = {
    "job_id": str,
    "action": str,
    "state": str,
    "reason": str,
    "why": str,
    "next_step": str,
    "log": str,
    "running_s": Maybe(int),
}

REQUEST: Final = {"request_id": str, "summary": str, "page": str, "finished": bool, "jobs": [_JOB]}
"""A request with its jobs."""

_FAILURE: Final = {"request_id": str, "commit": str, "reason": str, "finished_at": Moment}

_REUSED: Final = {
    "action": str,
    "request_id": str,
    "commit": str,
    "same_commit": bool,
    "finished_at": Moment,
    "failed_since": Maybe(_FAILURE),
}

_ALREADY: Final = {
    "action": str,
    "state": str,
    "request_id": str,
    "asked_by": str,
    "commit": str,
    "same_commit": bool,
    "page": str,
}

CREATED: Final = {"message": str, "request": Maybe(REQUEST), "reused": [_REUSED], "already": [_ALREADY]}
"""What became of the wish for a run."""

CANCELLED: Final = {"message": str, "request": REQUEST}
"""What became of a cancel."""

_ROW: Final = {"request_id": str, "created_at": Moment, "project": str, "state": str, "summary": str}

OWN_REQUESTS: Final = {"requests": [_ROW]}
"""A person's last requests."""

ERROR: Final = {"id": str, "message": str}
"""One thing that is wrong with a call."""

PROBLEM: Final = {"id": str, "message": str, "line": int, "column": int}
"""One thing that is wrong with the pipeline file."""
