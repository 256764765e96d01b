"""The desk: who may start what, for several threads at once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.agent.dispatch import Desk, checking_uid_of, uid_of
from jobrunner.agent.policy import MOST_SLOTS
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


@pytest.mark.parametrize("stop", [lambda desk: desk.pause(True), lambda desk: desk.halt()])
def test_while_paused_or_halted_nothing_starts(stop: Callable[[Desk], None]) -> None:
    desk = Desk(1)
    assert desk.accepting
    stop(desk)
    assert not desk.accepting
    waiting = Waiting(desk)
    desk.put([offer()])
    assert waiting.still_waits()
    desk.pause(False)
    if desk.accepting:
        assert waiting.result() is not None
    else:
        # Only a new start of the agent ends a halt.
        assert waiting.still_waits()
        desk.close()
        assert waiting.result() is None


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
    uids = [uid_of(slot) for slot in range(MOST_SLOTS)]
    assert len(set(uids)) == MOST_SLOTS
    assert all(200_000 <= uid <= 200_255 for uid in uids)
    checking = [checking_uid_of(slot) for slot in range(MOST_SLOTS)]
    assert len({*uids, *checking}) == 2 * MOST_SLOTS
    assert all(200_000 <= uid <= 200_255 for uid in checking)
