"""What somebody asks of the live stream. A question that is not understood is refused, never guessed at."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from django.http.request import split_domain_port, validate_host

from jobrunner.controller.edge import Scope
from jobrunner.controller.feed.stream import Wanted

_RESUME_HEADER: Final = b"last-event-id"
_MAX_QUERY_BYTES: Final = 512
_SLUG: Final = re.compile(r"[a-z0-9-]{1,40}")
_ID26: Final = re.compile(r"[a-z2-7]{26}")
# One digit less than a database can count to.
_EVENT_ID: Final = re.compile(r"[0-9]{1,18}")
_SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "project": _SLUG,
    "backend": _SLUG,
    "request": _ID26,
    "after": _EVENT_ID,
}


class BadQuestion(ValueError):
    """It cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """`after` is the id of the last event that the viewer has; None: from now on."""

    wanted: Wanted
    after: int | None


def check_host(scope: Scope, hosts: tuple[str, ...]) -> None:
    """Raise BadQuestion unless exactly one host is named, and is one of ours."""
    named = _header(scope, b"host")
    if len(named) != 1:
        raise BadQuestion("Name one host.")
    domain, _ = split_domain_port(named[0])
    if not domain or not validate_host(domain, hosts):
        raise BadQuestion("This host is not served here.")


def read_question(scope: Scope) -> Question:
    """The filters and the place to go on from; the header, which a browser keeps, goes before `?after=`."""
    given = _parameters(scope["query_string"])
    after = given.get("after")
    told = _header(scope, _RESUME_HEADER)
    if len(told) > 1:
        raise BadQuestion("Last-Event-ID is given twice.")
    if told:
        after = told[0]
        _check("after", after)
    wanted = Wanted(given.get("project"), given.get("backend"), given.get("request"))
    return Question(wanted, None if after is None else int(after))


def _parameters(query: bytes) -> dict[str, str]:
    if len(query) > _MAX_QUERY_BYTES:
        raise BadQuestion("The query is too long.")
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise BadQuestion("The query cannot be read.") from error
    given = dict(pairs)
    if len(given) != len(pairs):
        raise BadQuestion("A word of the query is given twice.")
    for name, value in given.items():
        _check(name, value)
    return given


def _check(name: str, value: str) -> None:
    if name not in _SHAPES:
        raise BadQuestion(f"The query takes {', '.join(_SHAPES)} only.")
    if not _SHAPES[name].fullmatch(value):
        raise BadQuestion(f"The value of `{name}` is not one.")


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
