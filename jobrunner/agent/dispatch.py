"""Offers waiting for a free slot. One owner of "what may start now" for all loops of the agent."""

import threading
from collections.abc import Sequence
from typing import Final

from jobrunner.executors.base import JOB_UIDS
from jobrunner.sync.messages import Offer

CHECKING_UID: Final = JOB_UIDS[-1]
"""Checks of collected files run as this uid, which no slot has."""


class Desk:
    """Slots of this site and the newest offers.

    A slot is a number from 0; its uid is the one at that place of the pool. Offers are replaced by each
    reply of the controller, since an older list may name jobs that are gone.
    """

    def __init__(self, slots: int) -> None:
        self._condition = threading.Condition()
        self._slots = slots
        self._free = set(range(slots))
        self._offers: list[Offer] = []
        self._closed = False
        self._paused = False
        self._halted = False
        self._claiming = False

    def put(self, offers: Sequence[Offer]) -> None:
        """The controller's newest offers."""
        with self._condition:
            self._offers = list(offers)
            self._condition.notify_all()

    def pause(self, paused: bool) -> None:
        """While paused nothing new starts; what runs goes on."""
        with self._condition:
            self._paused = paused
            self._condition.notify_all()

    def halt(self) -> None:
        """Nothing new starts until the agent is started anew: the sandbox here is not what it must be."""
        with self._condition:
            self._halted = True
            self._offers = []
            self._condition.notify_all()

    def close(self) -> None:
        """From now on nothing new starts (drain)."""
        with self._condition:
            self._closed = True
            self._offers = []
            self._condition.notify_all()

    @property
    def accepting(self) -> bool:
        """Whether new jobs may be claimed at all."""
        with self._condition:
            return not (self._closed or self._paused or self._halted)

    def free(self) -> int:
        """How many slots are free now."""
        with self._condition:
            return len(self._free)

    def next(self) -> tuple[Offer, int] | None:
        """Wait for an offer and a free slot, and take both; None when closed."""
        with self._condition:
            while not self._closed and not self._may_start():
                self._condition.wait()
            if self._closed:
                return None
            slot = min(self._free)
            self._free.remove(slot)
            self._claiming = True
            return self._offers.pop(0), slot

    def claimed(self) -> None:
        """What `next` gave was claimed, or could not be."""
        with self._condition:
            self._claiming = False
            self._condition.notify_all()

    def _may_start(self) -> bool:
        return not (self._paused or self._halted) and bool(self._offers) and bool(self._free)

    def take_free(self) -> int | None:
        """Take any free slot without an offer; None when all are busy."""
        with self._condition:
            if not self._free:
                return None
            slot = min(self._free)
            self._free.remove(slot)
            return slot

    def occupy(self, slot: int) -> None:
        """Take a given slot, for an attempt that was running when the agent last stopped."""
        with self._condition:
            self._free.discard(slot)

    def give_back(self, slot: int) -> None:
        """The attempt on this slot is gone, with its container and mounts."""
        with self._condition:
            # An attempt from before a restart may hold a slot that the policy has taken away since.
            if slot < self._slots:
                self._free.add(slot)
            self._condition.notify_all()

    def wait_settled(self, timeout_s: float) -> None:
        """Wait until the offers have been claimed or left, so that no poll asks for the same again."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or not (self._claiming or (self._offers and self._free)),
                timeout=timeout_s,
            )


def uid_of(slot: int) -> int:
    """The uid (and gid) that attempts on this slot run as."""
    return JOB_UIDS[slot]
