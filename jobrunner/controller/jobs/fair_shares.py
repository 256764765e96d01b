"""How free places are shared between workspaces: in turn, whoever runs least and has waited longest first."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A workspace with `available` jobs that could start, the oldest with key `first`, and `running` ones.

    `last_served_at` is when a job of it was last claimed.
    """

    workspace: int
    available: int
    first: int
    running: int
    last_served_at: datetime | None


def share(places: int, claimants: Iterable[Claimant]) -> dict[int, int]:
    """How many places each workspace gets, by its key; at most `places` in all. Time: near-linear."""
    queue = [
        (1 + one.running, one.last_served_at or _NEVER, one.first, one.available, one.workspace)
        for one in claimants
    ]
    heapq.heapify(queue)
    shares: dict[int, int] = {}
    for _ in range(places):
        if not queue:
            break
        turn, served, first, available, workspace = heapq.heappop(queue)
        shares[workspace] = shares.get(workspace, 0) + 1
        if available > 1:
            heapq.heappush(queue, (turn + 1, served, first, available - 1, workspace))
    return shares
