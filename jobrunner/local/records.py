"""What is remembered of the last success of an action here: `.jobrunner/actions/<action>.json`.

The file lies where anybody may write, so nothing in it is believed before it has the right form. One that has
not is as good as none: the action runs again, and says so.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from jobrunner.privacy import documents, names

SCHEMA: Final = 1
MOST_BYTES: Final = 64 * 2**20

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REASON: Final = re.compile(r"[a-z_]{1,40}")


class RecordUnreadable(Exception):
    """A record that nobody can rely on; the text says why, in words that do not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """On what an action last ran here with success, and what came out.

    Every mapping is from path to sha256, except `levels` (path to level) and `refused` (path to the reason
    why the file would not enter the medium area). `named`: files of the study that the command names;
    `others`: all its other files. `finished`: seconds since 1970. `failed_since`: the reason why a later try
    failed, None when there was none.
    """

    action: str
    image: str
    image_id: str
    argv: tuple[str, ...]
    patterns: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]
    inputs: Mapping[str, str]
    named: Mapping[str, str]
    others: Mapping[str, str]
    outputs: Mapping[str, str]
    levels: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)
    finished: int
    failed_since: str | None = None

    def failed(self, reason: str) -> "Record":
        """The same, after a try that failed."""
        return replace(self, failed_since=reason)


def dump(record: Record) -> bytes:
    """The record as JSON, keys sorted."""
    return documents.dump({"schema": SCHEMA, **documents.flat(record)})


def load(content: bytes, action: str) -> Record:
    """The record in `content`. Raises RecordUnreadable for anything that `dump` would not have written."""
    if len(content) > MOST_BYTES:
        raise RecordUnreadable("it is too long")
    try:
        data = json.loads(content)
        if not isinstance(data, dict) or set(data) != {"schema", *(one.name for one in fields(Record))}:
            raise RecordUnreadable("it has not the fields of a record")
        if data.pop("schema") != SCHEMA:
            raise RecordUnreadable("another version of jobrunner wrote it")
        record = _record(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordUnreadable("it is damaged") from error
    if record.action != action:
        raise RecordUnreadable("it is about another action")
    return record


def _record(data: Mapping[str, Any]) -> Record:
    image_id, failed_since = _text(data["image_id"]), data["failed_since"]
    if not _IMAGE_ID.fullmatch(image_id):
        raise ValueError("no image id")
    if failed_since is not None and not _REASON.fullmatch(_text(failed_since)):
        raise ValueError("no reason")
    if type(data["finished"]) is not int:
        raise ValueError("no time")
    outputs, levels, refused = _hashes(data["outputs"]), _mapping(data["levels"]), _mapping(data["refused"])
    if set(levels) != set(outputs) or not set(refused) <= set(outputs):
        raise ValueError("outputs and their levels differ")
    for path in outputs:
        if names.why_refused(path) is not None or names.is_reserved(path):
            raise ValueError("no path of an output")
    return Record(
        action=_text(data["action"]),
        image=_text(data["image"]),
        image_id=image_id,
        argv=tuple(_text(word) for word in _list(data["argv"])),
        patterns=tuple(_pair(pair) for pair in _list(data["patterns"])),
        needs=tuple(_text(need) for need in _list(data["needs"])),
        inputs=_hashes(data["inputs"]),
        named=_hashes(data["named"]),
        others=_hashes(data["others"]),
        outputs=outputs,
        levels=levels,
        refused=refused,
        finished=data["finished"],
        failed_since=failed_since,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _pair(value: object) -> tuple[str, str]:
    first, second = _list(value)
    return _text(first), _text(second)


def _mapping(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return {_text(key): _text(entry) for key, entry in value.items()}


def _hashes(value: object) -> dict[str, str]:
    found = _mapping(value)
    if not all(_HASH.fullmatch(digest) for digest in found.values()):
        raise ValueError("no hash")
    return found
