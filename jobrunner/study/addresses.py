"""Which addresses a git host may have: resolved by us, checked, then pinned for git.

threats.md section 5 item 3. A name that points inside the site is refused unless policy lists the address,
and git is given the addresses that were checked, so that a second look-up cannot answer differently.
"""

from __future__ import annotations

import ipaddress
import socket
import threading

from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import RepositoryNotAllowed, Unreachable
from jobrunner.study.repository_url import RepositoryUrl, is_loopback_host
from jobrunner.study.rules import GitRules

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Networks that carry an IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CHECK_EVERY_S = 0.5


def resolve(url: RepositoryUrl, rules: GitRules, deadline: Deadline) -> tuple[Address, ...]:
    """All addresses of the host of `url`, each of them allowed.

    Raises:
        RepositoryNotAllowed: detail `address`; one forbidden address is enough.
        Unreachable: the name cannot be resolved now.
        Stopped: the deadline's stop was asked.
    """
    addresses = _look_up(url.host, url.port, deadline)
    for address in addresses:
        if not is_allowed(address, rules, loopback=is_loopback_host(url.host)):
            raise RepositoryNotAllowed(
                "address",
                f"The git host {url.host} has the address {address}, which is not a public one. "
                "If that is meant, list it in the site's policy.",
            )
    return addresses


def is_allowed(address: Address, rules: GitRules, *, loopback: bool) -> bool:
    """Whether git may open a connection to `address`; `loopback` when policy named a loopback host."""
    if any(address in network for network in rules.private_networks):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (inner := _embedded(address)) is not None:
        return is_allowed(inner, rules, loopback=loopback)
    if loopback:
        return address.is_loopback
    return address.is_global and not address.is_multicast


def curl_pin(url: RepositoryUrl, addresses: tuple[Address, ...]) -> str:
    """The value of `http.curloptResolve` that ties the host to `addresses`: `host:port:address,...`."""
    shown = (f"[{address}]" if address.version == 6 else str(address) for address in addresses)
    return f"{url.host}:{url.port}:{','.join(shown)}"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _look_up(host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
    found: list[Address] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except OSError:
            return
        # A link-local answer carries its interface after a percent sign.
        texts = dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers)
        found.extend(ipaddress.ip_address(text) for text in texts)

    # The system's resolver takes no deadline; a thread that it holds up ends with it.
    thread = threading.Thread(target=ask, name="resolve-git-host", daemon=True)
    thread.start()
    while thread.is_alive() and deadline.left > 0:
        deadline.stop.check()
        thread.join(min(deadline.left, _CHECK_EVERY_S))
    if thread.is_alive() or not found:
        raise Unreachable(
            f"The name of the git host {host} cannot be resolved now. Check the site's resolver."
        )
    return tuple(found)
