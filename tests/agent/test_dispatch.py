"""The desk: who may start what, for several threads at once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.agent.dispatch import Closed, Desk, Places, checking_uid_of, uid_of
from jobrunner.agent.halts import Cause
from jobrunner.agent.policy import MOST_SLOTS
from jobrunner.executors.base import JOB_UIDS
from jobrunner.study import Stop, Stopped
from jobrunner.sync.messages import Offer
from tests.agent.offers import offer

pytestmark = pytest.mark.unit

Taken = tuple[Offer, int] | None


class Waiting:
    """`next` of a desk in a thread of its own."""

    def __init__(self, desk: Desk) -> None:
        self._found: list[Taken] = []
        self._thread = threading.Thread(target=lambda: self._found.append(desk.next()), daemon=True)
        self._thread.start()

    def result(self) -> Taken:
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self._found[0]

    def still_waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()


def test_an_offer_goes_to_a_free_slot_in_the_order_of_the_list() -> None:
    desk = Desk(2)
    first, second, third = offer(), offer(), offer()
    desk.put([first, second, third])
    assert desk.next() == (first, 0)
    assert desk.next() == (second, 1)
    assert desk.free() == 0
    waiting = Waiting(desk)
    assert waiting.still_waits()
    desk.give_back(0)
    assert waiting.result() == (third, 0)


def test_who_is_cleaned_up_leaves_his_place_at_once_and_his_slot_when_nothing_is_left() -> None:
    desk = Desk(2)
    offers = [offer() for _ in range(5)]
    desk.put(offers)
    assert [desk.next(), desk.next()] == [(offers[0], 0), (offers[1], 1)]
    desk.leave(0)
    assert desk.places().taken == 1
    assert desk.next() == (offers[2], 2)
    desk.leave(1)
    assert desk.next() == (offers[3], 3)
    # Where cleaning up does not get on, nobody else begins.
    desk.leave(2)
    assert desk.free() == 0
    waiting = Waiting(desk)
    assert waiting.still_waits()
    desk.give_back(1)
    assert waiting.result() == (offers[4], 1)


def test_who_lacks_room_waits_for_those_who_are_cleaned_up() -> None:
    desk = Desk(3)
    stop = Stop()
    before = desk.gone
    assert not desk.wait_gone(before, stop, 5)
    desk.occupy(0)
    desk.occupy(1)
    assert not desk.wait_gone(before, stop, 5), "what runs may run for days"
    never_began = desk.take_free()
    assert never_began == 2
    desk.give_back(never_began)
    assert desk.gone == before, "what never began left no room"
    desk.leave(never_began)
    assert desk.places().taken == 2, "nobody is there who could leave"
    desk.leave(0)
    desk.leave(1)
    assert not desk.wait_gone(before, stop, 0.01)
    timer = threading.Timer(0.05, desk.give_back, (0,))
    timer.start()
    assert desk.wait_gone(before, stop, 5), "one of them is enough"
    assert desk.wait_gone(before, stop, 5), "also when it went before anybody waited"
    timer.join()
    stopper = threading.Timer(0.05, stop.ask)
    stopper.start()
    with pytest.raises(Stopped):
        desk.wait_gone(desk.gone, stop, 5)
    stopper.join()


def test_newer_offers_replace_older_ones() -> None:
    desk = Desk(1)
    newer = offer()
    desk.put([offer(), offer()])
    desk.put([newer])
    assert desk.next() == (newer, 0)
    desk.give_back(0)
    desk.put([offer()])
    desk.put([])
    waiting = Waiting(desk)
    assert waiting.still_waits()
    desk.close()
    assert waiting.result() is None


@pytest.mark.parametrize("stop", [lambda desk: desk.pause(True), lambda desk: desk.halt(Cause.DISK, "Full.")])
def test_while_paused_or_halted_nothing_starts(stop: Callable[[Desk], None]) -> None:
    desk = Desk(1)
    assert desk.accepting
    stop(desk)
    assert not desk.accepting
    waiting = Waiting(desk)
    desk.put([offer()])
    assert waiting.still_waits()
    desk.pause(False)
    if not desk.accepting:
        # The controller cannot end what the site itself halted for.
        assert waiting.still_waits()
        assert desk.lift(Cause.DISK)
        desk.put([offer()])
    assert waiting.result() is not None


def test_every_cause_of_a_halt_must_be_lifted() -> None:
    desk = Desk(1)
    desk.halt(Cause.DISK, "Full.")
    desk.halt(Cause.CLOCK, "Back.")
    desk.halt(Cause.DISK, "Still full.")
    assert desk.halts == {Cause.DISK: "Still full.", Cause.CLOCK: "Back."}
    assert desk.lift(Cause.DISK)
    assert not desk.lift(Cause.DISK)
    assert not desk.accepting
    desk.lift(Cause.CLOCK)
    assert desk.accepting


def test_a_closed_desk_lets_everybody_go_and_nothing_start() -> None:
    desk = Desk(1)
    waiting = [Waiting(desk) for _ in range(3)]
    desk.close()
    assert [one.result() for one in waiting] == [None, None, None]
    desk.put([offer()])
    assert desk.next() is None
    assert not desk.accepting


def test_a_slot_of_a_resumed_attempt_is_taken() -> None:
    desk = Desk(2)
    desk.occupy(0)
    assert desk.free() == 1
    assert desk.take_free() == 1
    assert desk.take_free() is None


def test_many_threads_never_share_a_slot() -> None:
    slots, rounds = 4, 200
    desk = Desk(slots)
    busy: set[int] = set()
    lock = threading.Lock()
    most = 0

    def work() -> int:
        nonlocal most
        done = 0
        while (taken := desk.next()) is not None:
            _offer, slot = taken
            with lock:
                assert slot not in busy
                busy.add(slot)
                most = max(most, len(busy))
            time.sleep(0.0005)
            with lock:
                busy.remove(slot)
            desk.give_back(slot)
            desk.claimed()
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work) for _ in range(8)]
        desk.put([offer() for _ in range(rounds)])
        desk.wait_settled(10)
        deadline = time.monotonic() + 10
        while desk.free() < slots and time.monotonic() < deadline:
            desk.wait_settled(10)
            time.sleep(0.001)
        desk.close()
        assert sum(worker.result(10) for worker in workers) == rounds
    assert most <= slots
    assert desk.free() == slots


def test_settled_means_looked_at_or_no_room() -> None:
    desk = Desk(1)
    desk.wait_settled(5)
    desk.put([offer(), offer()])
    began = time.monotonic()
    desk.wait_settled(0.1)
    assert time.monotonic() - began >= 0.1
    desk.next()
    desk.claimed()
    assert desk.free() == 0
    began = time.monotonic()
    desk.wait_settled(5)
    assert time.monotonic() - began < 1


def test_claiming_the_last_offer_settles_at_once_and_not_before() -> None:
    desk = Desk(2)
    desk.put([offer()])
    desk.next()
    threading.Timer(0.1, desk.claimed).start()
    began = time.monotonic()
    desk.wait_settled(5)
    assert time.monotonic() - began < 2


def test_slots_have_uids_of_their_own_and_none_is_that_of_the_checks() -> None:
    slots = []  # of those that run, and of those that are cleaned up
    desk = Desk(MOST_SLOTS)
    while desk.free():
        desk.put([offer()])
        taken = desk.next()
        assert taken is not None
        desk.claimed()
        slots.append(taken[1])
        desk.leave(taken[1])
    assert len(slots) > MOST_SLOTS
    uids = [uid_of(slot) for slot in slots]
    assert all(200_000 <= uid <= 200_255 for uid in uids)
    checking = [checking_uid_of(slot) for slot in slots]
    assert len({*uids, *checking, *JOB_UIDS[-4:]}) == 2 * len(slots) + 4, "the last are of canary and attest"
    assert all(200_000 <= uid <= 200_255 for uid in checking)


def test_what_an_end_brings_does_not_push_out_what_a_poll_brought() -> None:
    desk = Desk(3)
    polled, ended = offer(), offer()
    desk.put([polled])
    desk.add([])
    desk.add([ended, polled])
    assert desk.next() == (ended, 0)
    assert desk.next() == (polled, 1)
    desk.claimed()
    desk.claimed()
    desk.wait_settled(5)
    assert desk.free() == 1


def test_a_controller_cannot_pile_up_offers_without_end() -> None:
    desk = Desk(1)
    desk.occupy(0)
    for _ in range(20):
        desk.add([offer() for _ in range(16)])
    desk.give_back(0)
    count = 0
    while desk.free():
        found = Waiting(desk)
        if found.still_waits():
            break
        count += 1
        desk.give_back(0)
    assert count == 64
    desk.close()


def test_more_places_than_the_policy_has_now_may_be_taken_from_before() -> None:
    desk = Desk(2)
    for slot in (0, 4, 7):
        desk.occupy(slot)
    assert desk.free() == 0
    assert desk.take_free() is None
    desk.give_back(7)
    assert desk.free() == 0
    desk.give_back(0)
    # One still runs on slot 4, so one more may; the lowest number is free.
    assert desk.take_free() == 0
    assert desk.take_free() is None


class Asking:
    """An attempt that asks for a database place in a thread of its own."""

    def __init__(self, desk: Desk, slot: int, patience_s: float = 30.0) -> None:
        self.stop = Stop()
        self.slot = slot
        self.answer: bool | BaseException | None = None
        self._thread = threading.Thread(target=self._ask, args=(desk, patience_s), daemon=True)
        self._thread.start()

    def _ask(self, desk: Desk, patience_s: float) -> None:
        try:
            self.answer = desk.take_database(self.slot, self.stop, patience_s)
        except (Stopped, Closed) as end:
            self.answer = end

    def result(self) -> bool | BaseException | None:
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self.answer

    def still_waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()


def test_database_places_are_given_in_order_of_asking_and_never_more() -> None:
    desk = Desk(4, 1)
    for slot in range(4):
        desk.occupy(slot)
    assert Asking(desk, 0).result() is True
    second = Asking(desk, 1)
    assert second.still_waits()
    third = Asking(desk, 2)
    assert third.still_waits()
    assert desk.waiting_for_database() == {1, 2}
    assert desk.places() == Places(4, 4, 1, 1)
    desk.give_back(3)
    assert second.still_waits()
    desk.give_back(0)
    assert second.result() is True
    assert third.still_waits()
    desk.give_back(1)
    assert third.result() is True
    assert desk.waiting_for_database() == frozenset()


def test_who_has_a_database_place_already_does_not_wait_for_it() -> None:
    desk = Desk(3, 1)
    assert Asking(desk, 0).result() is True
    waiting = Asking(desk, 1)
    assert waiting.still_waits()
    assert Asking(desk, 0).result() is True
    assert desk.waiting_for_database() == {1}
    assert desk.places().database_taken == 1
    desk.give_back(0)
    assert waiting.result() is True


def test_a_stop_ends_the_wait_for_a_database_place_and_nobody_elses() -> None:
    desk = Desk(3, 1)
    desk.occupy(0, database=True)
    first, second = Asking(desk, 1), None
    assert first.still_waits()
    second = Asking(desk, 2)
    assert second.still_waits()
    first.stop.ask()
    assert isinstance(first.result(), Stopped)
    assert second.still_waits()
    desk.give_back(0)
    assert second.result() is True


def test_a_drain_ends_the_wait_for_a_database_place() -> None:
    desk = Desk(2, 1)
    desk.occupy(0, database=True)
    waiting = Asking(desk, 1)
    assert waiting.still_waits()
    desk.close()
    assert isinstance(waiting.result(), Closed)


def test_who_waits_gives_up_only_when_nobody_else_can_start() -> None:
    desk = Desk(3, 1)
    desk.occupy(0, database=True)
    desk.occupy(1)
    waiting = Asking(desk, 1, patience_s=0.2)
    time.sleep(0.5)
    # A place is free for others: waiting harms nobody.
    assert waiting.still_waits()
    desk.put([offer()])
    assert desk.next() is not None
    began = time.monotonic()
    assert waiting.result() is False
    assert 0.1 < time.monotonic() - began < 1


def test_when_all_wait_for_a_database_place_some_go_on() -> None:
    desk = Desk(5, 2)
    for slot in range(5):
        desk.occupy(slot)
    asking = [Asking(desk, slot) for slot in range(5)]
    done: list[Asking] = []
    while len(done) < 5:
        deadline = time.monotonic() + 5
        while not (ready := [one for one in asking if one.answer is not None and one not in done]):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert len(ready) <= 2
        assert desk.places().database_taken <= 2
        for one in ready:
            assert one.answer is True
            done.append(one)
            desk.give_back(one.slot)
    assert desk.free() == 5
