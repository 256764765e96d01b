"""How many may watch the live stream at once: in all, and from one address."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from jobrunner.controller.edge import Scope

_NO_ADDRESS: Final = "unknown"


class Full(Exception):
    """Nobody more may watch, or nobody more from this address."""


class Seats:
    """One per process, used from its event loop only."""

    def __init__(self, *, in_all: int, of_one_address: int) -> None:
        self._in_all = in_all
        self._of_one_address = of_one_address
        self._taken = 0
        self._by_address: Counter[str] = Counter()

    @contextmanager
    def taken_by(self, address: str | None) -> Iterator[None]:
        """Hold a seat for as long as the block lasts; raises Full. None is counted in all only."""
        if self._taken >= self._in_all:
            raise Full
        if address is not None and self._by_address[address] >= self._of_one_address:
            raise Full
        self._taken += 1
        if address is not None:
            self._by_address[address] += 1
        try:
            yield
        finally:
            self._taken -= 1
            if address is not None:
                self._by_address[address] -= 1
                if not self._by_address[address]:
                    del self._by_address[address]


def who_asks(scope: Scope, proxies: Iterable[str]) -> str | None:
    """The address to count: of the peer, or what a trusted proxy says of the peer before it.

    Only the last address of X-Forwarded-For was written by the proxy itself; those before are anybody's
    claim. None: a trusted proxy that does not say for whom it asks.
    """
    peer = scope["client"][0] if scope.get("client") else _NO_ADDRESS
    if peer not in proxies:
        return _network(peer)
    told = _forwarded_for(scope["headers"])
    return None if told is None else _network(told.rsplit(",", 1)[-1].strip())


def _forwarded_for(headers: Iterable[Any]) -> str | None:
    found = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return found[-1] if found else None


def _network(text: str) -> str:
    """One IPv4 address, or the /64 network of an IPv6 address, which is what one household gets."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _NO_ADDRESS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)
