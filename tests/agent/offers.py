"""Offers as the controller makes them."""

from typing import Any

from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import Offer


def offer_fields(**changes: Any) -> dict[str, Any]:
    """The six fields and an approval, as JSON values; a new request each time."""
    return {
        "request_id": new_id(),
        "project": "heart-study",
        "repo": "https://git.example/org/heart",
        "branch": "main",
        "commit": "0" * 40,
        "action": "describe",
        "approval": None,
    } | changes


def offer(**changes: Any) -> Offer:
    """The same as a message."""
    return Offer(**offer_fields(**changes))
