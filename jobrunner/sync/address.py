"""The address of a controller: https, or plain http on this very machine.

It is compared as it was written. A parser drops some signs and lets others pass, and two parsers differ in
which, so that a secret would travel to another host than the one that was looked at.
"""

import re
from typing import Final
from urllib.parse import urlsplit

# Printable ASCII without what begins a query or a fragment and without a backslash.
_ADDRESS: Final = re.compile(r"[!-~]+")
_NOT_IN_ADDRESS: Final = frozenset("?#\\")
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\])(?::[0-9]*)?")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class InsecureController(ValueError):
    """The address of the controller is neither https nor an allowed loopback address."""


def check_address(url: str, *, allow_loopback_http: bool) -> str:
    """The address without a trailing slash; raises InsecureController unless https or allowed loopback."""
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0 and bool(_AUTHORITY.fullmatch(parts.netloc))
    except ValueError:
        whole = False
    if not whole or not _ADDRESS.fullmatch(url) or not _NOT_IN_ADDRESS.isdisjoint(url):
        raise InsecureController("The controller's address must be just https://host[:port]/path.")
    if parts.scheme == "https":
        return url.rstrip("/")
    if parts.scheme == "http" and allow_loopback_http and parts.hostname in _LOOPBACK:
        return url.rstrip("/")
    raise InsecureController(
        "The controller must be reached by https; only modes dev and test may use http, on loopback."
    )
