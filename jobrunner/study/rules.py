"""What a site allows its git intake, as values. Checked when made, so a wrong policy stops the start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobrunner.study.repository_url import RepositoryPrefix, parse_prefix

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_TOKEN = re.compile(r"[!-~]{1,1024}")

# Old faults of real repositories that mean no harm; a site may list some of them as tolerated.
HARMLESS_FAULTS = frozenset(
    {
        "badDate",
        "badDateOverflow",
        "badEmail",
        "badName",
        "badTimezone",
        "missingEmail",
        "missingNameBeforeEmail",
        "missingSpaceBeforeDate",
        "missingSpaceBeforeEmail",
        "zeroPaddedDate",
        "zeroPaddedFilemode",
    }
)

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of threats.md section 5. Sizes in bytes, times in seconds."""

    pack_bytes: int = 2 * GIB
    fetch_seconds: float = 600
    # A host that sends fewer than `stall_bytes` a second for `stall_seconds` counts as away.
    stall_seconds: int = 30
    stall_bytes: int = 1000
    # Address space of each git process.
    memory_bytes: int = 4 * GIB
    # A mirror that grew past this, or past this many packs, is made again.
    mirror_bytes: int = 4 * GIB
    mirror_packs: int = 100
    tree_seconds: float = 600
    entries: int = 50_000
    depth: int = 32
    blob_bytes: int = 512 * MIB
    tree_bytes: int = 2 * GIB
    link_bytes: int = 255
    part_bytes: int = 200
    path_bytes: int = 512


@dataclass(frozen=True, slots=True)
class GitRules:
    """Which repositories may be fetched, and how.

    Attributes:
        allowed_prefixes: scheme, host and leading path segments, e.g. "https://github.com/opensafely".
        allow_loopback_http: prefixes may also be http on a loopback host with a port (modes dev and test).
        allow_private_addresses: addresses or networks inside the site that an allowed host may resolve to.
        tokens: read-only token by host ("github.com"; "127.0.0.1:8080" on loopback).
        tolerated_faults: old faults that git's object check may let pass, from `HARMLESS_FAULTS`.
        limits: sizes and times.

    Raises:
        ValueError: a prefix, network, token or fault that cannot be meant; the text says which.
    """

    allowed_prefixes: tuple[str, ...]
    allow_loopback_http: bool = False
    allow_private_addresses: frozenset[str] = frozenset()
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    tolerated_faults: frozenset[str] = frozenset()
    limits: Limits = Limits()
    prefixes: tuple[RepositoryPrefix, ...] = field(init=False, repr=False)
    private_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = field(
        init=False, repr=False
    )

    def __post_init__(self) -> None:
        prefixes = tuple(parse_prefix(text, self.allow_loopback_http) for text in self.allowed_prefixes)
        object.__setattr__(self, "prefixes", prefixes)
        networks = tuple(ipaddress.ip_network(text) for text in sorted(self.allow_private_addresses))
        object.__setattr__(self, "private_networks", networks)
        for host, token in self.tokens.items():
            if host not in {prefix.netloc for prefix in prefixes}:
                raise ValueError(f"there is a git token for {host!r}, but no allowed prefix has that host")
            # A line end in a token would become a header of its own.
            if not _TOKEN.fullmatch(token):
                raise ValueError(f"the git token for {host!r} has a space or a character that is not ASCII")
        if unknown := self.tolerated_faults - HARMLESS_FAULTS:
            raise ValueError(f"not a harmless fault of old repositories: {', '.join(sorted(unknown))}")
