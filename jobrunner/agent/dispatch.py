"""Offers waiting for a free place. One owner of "what may start now" for all threads of the agent."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from threading import Condition
from typing import Final

from jobrunner.agent.halts import Cause
from jobrunner.executors.base import JOB_UIDS
from jobrunner.study import Stop
from jobrunner.sync.messages import Offer

_CHECKING_UIDS: Final = JOB_UIDS[128:]
_MOST_OFFERS: Final = 64
# The last users of the pool are those of the canary and of attest.
_MOST_SLOTS: Final = len(_CHECKING_UIDS) - 4


class Closed(Exception):
    """The agent drains: what has not begun to run begins after its next start."""


@dataclass(frozen=True, slots=True)
class Places:
    """All places of the site and those that are taken; `database` ones are a share of all, not more."""

    total: int
    taken: int
    database: int
    database_taken: int


class Desk:
    """Places of this site and the newest offers.

    An attempt takes a place before it is claimed, and its slot with it: a number whose uid is the one at that
    place of the pool. Its place is free when nothing of it runs any more, its slot when nothing of it is
    left: the next one starts on another slot while it is cleaned up. A database action needs one of the
    database places as well; that it is one, only the commit says, so it asks for that when it is about to
    start.
    """

    def __init__(self, places: int, database_places: int = 0) -> None:
        self._condition = Condition()
        self._places = places
        self._database_places = database_places
        self._slots: set[int] = set()
        self._leaving: set[int] = set()
        self._gone = 0
        self._databases: set[int] = set()
        self._waiting: list[int] = []
        self._offers: list[Offer] = []
        self._closed = False
        self._paused = False
        self._halts: dict[Cause, str] = {}
        self._claiming = 0

    def put(self, offers: Sequence[Offer]) -> None:
        """The controller's newest offers, in place of all older ones, which may name jobs that are gone."""
        with self._condition:
            self._offers = list(offers)
            self._condition.notify_all()

    def add(self, offers: Sequence[Offer]) -> None:
        """Offers that came beside a poll: first in turn, and none that a poll has brought is forgotten."""
        with self._condition:
            older = [offer for offer in self._offers if offer not in offers]
            self._offers = [*offers, *older][:_MOST_OFFERS]
            self._condition.notify_all()

    def pause(self, paused: bool) -> None:
        """While paused nothing new starts; what runs goes on."""
        with self._condition:
            self._paused = paused
            self._condition.notify_all()

    def halt(self, cause: Cause, sentence: str) -> None:
        """Nothing new starts until this cause is lifted; the sentence is for the site's operator."""
        with self._condition:
            self._halts[cause] = sentence
            self._offers = []
            self._condition.notify_all()

    def lift(self, cause: Cause) -> bool:
        """What was wrong is in order again; returns whether the desk was halted for it."""
        with self._condition:
            self._condition.notify_all()
            return self._halts.pop(cause, None) is not None

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
            return not (self._closed or self._paused or self._halts)

    @property
    def paused(self) -> bool:
        """Whether the controller said so."""
        return self._paused

    @property
    def halts(self) -> dict[Cause, str]:
        """Every cause that is not lifted, with its sentence."""
        with self._condition:
            return dict(self._halts)

    def places(self) -> Places:
        """How many there are and how many are taken now."""
        with self._condition:
            taken = len(self._slots) - len(self._leaving)
            return Places(self._places, taken, self._database_places, len(self._databases))

    def free(self) -> int:
        """How many places are free now."""
        with self._condition:
            return self._free()

    def _free(self) -> int:
        # Attempts from before a restart may hold more places than the policy has now; and where cleaning up
        # does not get on, no more than as many again start before it does.
        running = len(self._slots) - len(self._leaving)
        slots = min(2 * self._places, _MOST_SLOTS)
        return max(0, min(self._places - running, slots - len(self._slots)))

    def next(self) -> tuple[Offer, int] | None:
        """Wait for an offer and a free place, and take both; None when closed. Call `claimed` after it."""
        with self._condition:
            while not self._closed and not self._may_start():
                self._condition.wait()
            if self._closed:
                return None
            return self._offers.pop(0), self._take()

    def claimed(self) -> None:
        """What `next` or `take_free` gave was claimed, or could not be."""
        with self._condition:
            self._claiming -= 1
            self._condition.notify_all()

    def _may_start(self) -> bool:
        return not (self._paused or self._halts) and bool(self._offers) and self._free() > 0

    def _take(self) -> int:
        slot = next(number for number in count() if number not in self._slots)
        self._slots.add(slot)
        self._claiming += 1
        self._condition.notify_all()
        return slot

    def take_free(self) -> int | None:
        """Take any free place without an offer; None when all are taken. Call `claimed` after it."""
        with self._condition:
            return self._take() if self._free() else None

    def occupy(self, slot: int, *, database: bool = False) -> None:
        """Take a given slot, for an attempt that was running when the agent last stopped."""
        with self._condition:
            self._slots.add(slot)
            if database:
                self._databases.add(slot)

    def leave(self, slot: int) -> None:
        """Nothing of the attempt on this slot runs any more; what is left of it is being cleaned up."""
        with self._condition:
            if slot in self._slots:
                self._leaving.add(slot)
            self._databases.discard(slot)
            self._condition.notify_all()

    def give_back(self, slot: int) -> None:
        """The attempt on this slot is gone, with its container and mounts."""
        with self._condition:
            if slot in self._leaving:
                # Others never began: nothing of them was in anybody's way.
                self._gone += 1
            self._slots.discard(slot)
            self._leaving.discard(slot)
            self._databases.discard(slot)
            self._condition.notify_all()

    @property
    def gone(self) -> int:
        """How many attempts are gone so far, with all that was left of them."""
        return self._gone

    def wait_gone(self, since: int, stop: Stop, patience_s: float) -> bool:
        """Wait until more are gone than the `since` that `gone` said before; False when nobody goes.

        Raises Stopped.
        """
        with stop.calling(self._wake), self._condition:
            over = time.monotonic() + patience_s
            while self._gone == since:
                stop.check()
                left = over - time.monotonic()
                if not self._leaving or left <= 0:
                    return False
                self._condition.wait(left)
            return True

    def take_database(self, slot: int, stop: Stop, patience_s: float) -> bool:
        """Take a database place for the attempt on this slot, or wait for one, first come, first served.

        False when it stood in the way for `patience_s`: while it waits it keeps its place, and when no other
        is free, nothing else can start. Who has a place already, since it made its step again, keeps it.
        Raises Stopped, and Closed when the agent drains meanwhile.
        """
        with stop.calling(self._wake), self._condition:
            if slot in self._databases:
                return True
            self._waiting.append(slot)
            try:
                return self._wait_for_database(slot, stop, patience_s)
            finally:
                self._waiting.remove(slot)
                self._condition.notify_all()

    def waiting_for_database(self) -> frozenset[int]:
        """The slots whose attempts wait for a database place."""
        with self._condition:
            return frozenset(self._waiting)

    def _wait_for_database(self, slot: int, stop: Stop, patience_s: float) -> bool:
        in_the_way_since: float | None = None
        while True:
            stop.check()
            if self._waiting[0] == slot and len(self._databases) < self._database_places:
                self._databases.add(slot)
                return True
            if self._closed:
                raise Closed
            now = time.monotonic()
            if self._free():
                in_the_way_since = None
            elif in_the_way_since is None:
                in_the_way_since = now
            elif now >= in_the_way_since + patience_s:
                return False
            left = patience_s if in_the_way_since is None else in_the_way_since + patience_s - now
            self._condition.wait(left)

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait_settled(self, timeout_s: float) -> None:
        """Wait until the offers have been claimed or left, so that no poll asks for the same again."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or not (self._claiming or (self._offers and self._free())),
                timeout=timeout_s,
            )

    def wait_claimed(self, timeout_s: float) -> None:
        """Wait until no claim is on its way; with a closed desk none follows."""
        with self._condition:
            self._condition.wait_for(lambda: not self._claiming, timeout=timeout_s)


def uid_of(slot: int) -> int:
    """The uid (and gid) that attempts on this slot run as."""
    return JOB_UIDS[slot]


def checking_uid_of(slot: int) -> int:
    """The uid of the checks of what an attempt on this slot wrote: no job has it, nor any other slot."""
    return _CHECKING_UIDS[slot]
