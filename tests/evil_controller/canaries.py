"""What must not get out: words that are planted in every place of a site, and a search for them in bytes."""

import base64
import secrets
from collections.abc import Mapping

PLACES = (
    "file content",
    "file name",
    "commit message",
    "branch that nobody offered",
    "script of an action",
    "output pattern",
    "git token",
    "page of the git host",
    "environment of an image",
    "entrypoint of an image",
    "path of the database",
    "content of the database",
    "folder of the site",
    "name of an approver",
    "environment of the agent",
    "error of the engine",
)


def new_canaries() -> dict[str, str]:
    """A word of its own for each place, such as could stand in a name, a path and a header."""
    return {place: f"canary{secrets.token_hex(8)}" for place in PLACES}


def traces(word: str) -> list[bytes]:
    """The word as it could stand among other bytes: plain, in hex, and in base64 at each of three places."""
    raw = word.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1]]
    for before, skip in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # What stands at either end depends on the neighbours too.
            found.append(encode(b"x" * before + raw).rstrip(b"=")[skip:-2])
    return found


def found_in(record: bytes, canaries: Mapping[str, str]) -> list[str]:
    """The places whose words stand in the record, in any case and in any of these forms."""
    folded = record.lower()
    return [
        place
        for place, word in canaries.items()
        if any(trace in record or trace.lower() in folded for trace in traces(word))
    ]
