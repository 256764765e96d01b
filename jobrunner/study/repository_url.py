"""The address of a study repository: parsed once, compared part by part, never repaired.

threats.md section 5 item 1.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from jobrunner.study.errors import RepositoryNotAllowed

MAX_URL_BYTES = 300
_PRINTABLE = re.compile(r"[!-~]+")
# A dot and a last label that starts with a letter: so an address in figures is no host name.
_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class RepositoryPrefix:
    """The leading parts of an address: `netloc` is the host, on loopback with its port."""

    scheme: str
    host: str
    port: int
    netloc: str
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """An address that policy allows. `text` is what was given, unchanged."""

    text: str
    scheme: str
    host: str
    port: int
    netloc: str

    @property
    def key(self) -> str:
        """Name of the mirror: sha256 of the whole address (threats.md section 5 item 4), 64 hex digits."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()


class AllowList(Protocol):
    """The part of `GitRules` that this module needs."""

    @property
    def prefixes(self) -> Iterable[RepositoryPrefix]: ...
    @property
    def allow_loopback_http(self) -> bool: ...


def parse_repository_url(url: str, rules: AllowList) -> RepositoryUrl:
    """Read `url` and look it up in the site's list. Starts no process and sends nothing.

    Raises:
        RepositoryNotAllowed: detail `url` (malformed, or a path that no prefix covers), `protocol`
            (neither https nor allowed http on loopback) or `host` (no prefix has it).
    """
    found = _parse(url, rules.allow_loopback_http)
    if not found.segments:
        raise RepositoryNotAllowed("url", f"The repository address {url} names a host only.")
    same_host = [
        prefix
        for prefix in rules.prefixes
        if (prefix.scheme, prefix.host, prefix.port) == (found.scheme, found.host, found.port)
    ]
    if not same_host:
        raise RepositoryNotAllowed("host", f"The site's policy names no git host {found.netloc}.")
    if not any(found.segments[: len(prefix.segments)] == prefix.segments for prefix in same_host):
        raise RepositoryNotAllowed("url", f"The site's policy does not cover the repository {url}.")
    return RepositoryUrl(url, found.scheme, found.host, found.port, found.netloc)


def parse_prefix(text: str, allow_loopback_http: bool) -> RepositoryPrefix:
    """Read one entry of the site's list; a host without a path covers all its repositories.

    Raises:
        ValueError: the entry is malformed.
    """
    try:
        return _parse(text, allow_loopback_http)
    except RepositoryNotAllowed as error:
        raise ValueError(f"allowed git prefix {text!r}: {error.message}") from error


def is_loopback_host(host: str) -> bool:
    """Whether `host` is `localhost` or an IPv4 loopback address in figures."""
    if host == "localhost":
        return True
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _parse(text: str, allow_loopback_http: bool) -> RepositoryPrefix:
    shown = ascii(text[:MAX_URL_BYTES])
    if len(text) > MAX_URL_BYTES or not _PRINTABLE.fullmatch(text):
        raise RepositoryNotAllowed("url", f"The repository address {shown} is too long or not plain ASCII.")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("https", "http"):
        raise RepositoryNotAllowed("protocol", f"The repository address {shown} must start with https://.")
    netloc, slash, path = rest.partition("/")
    if "@" in netloc:
        raise RepositoryNotAllowed("url", "The repository address holds a user name; leave it out.")
    host, colon, port = netloc.partition(":")
    if scheme == "http":
        if not (allow_loopback_http and is_loopback_host(host)):
            raise RepositoryNotAllowed(
                "protocol", f"The repository address {shown} must start with https://."
            )
        if not _PORT.fullmatch(port):
            raise RepositoryNotAllowed("url", f"The loopback address {shown} needs a port.")
    elif colon or not _HOST.fullmatch(host):
        raise RepositoryNotAllowed("url", f"The host of the repository address {shown} is malformed.")
    segments = tuple(path.split("/")) if slash else ()
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise RepositoryNotAllowed("url", f"The path of the repository address {shown} is malformed.")
    return RepositoryPrefix(scheme, host, int(port) if port else 443, netloc, segments)
