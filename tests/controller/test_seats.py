"""Whom a seat of the live stream is counted for."""

from __future__ import annotations

import pytest

from jobrunner.controller.feed.seats import Full, Seats, who_asks

pytestmark = pytest.mark.unit

PROXY = "10.0.0.1"


def asked(peer: str | None, *forwarded: str) -> str | None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"client": None if peer is None else (peer, 4711), "headers": headers}
    return who_asks(scope, (PROXY,))


def test_the_word_of_a_stranger_does_not_count() -> None:
    assert asked("192.0.2.1", "198.51.100.7") == "192.0.2.1"


def test_of_a_proxys_header_only_what_it_wrote_itself_counts() -> None:
    assert asked(PROXY, "198.51.100.7") == "198.51.100.7"
    assert asked(PROXY, "203.0.113.1, 198.51.100.7") == "198.51.100.7"
    assert asked(PROXY, "203.0.113.1", "198.51.100.7") == "198.51.100.7"
    assert asked(PROXY) is None


def test_a_household_is_one_address() -> None:
    one, other = asked("2001:db8::1"), asked(PROXY, "2001:DB8:0:0:ffff::2")
    assert one == other == "2001:db8::/64"
    assert asked("2001:db8:0:1::1") != one
    assert asked("::ffff:192.0.2.1") == asked("192.0.2.1")


@pytest.mark.parametrize("text", ["", "unix", "198.51.100.7:80", "1.2.3", "\xff", "_hidden"])
def test_what_is_no_address_shares_the_seats_of_one(text: str) -> None:
    assert asked(PROXY, text) == asked(None) == "unknown"


def test_seats_are_counted_in_all_and_by_address() -> None:
    seats = Seats(in_all=3, of_one_address=2)
    with seats.taken_by("a"), seats.taken_by("a"):
        with pytest.raises(Full), seats.taken_by("a"):
            pass
        with seats.taken_by("b"), pytest.raises(Full), seats.taken_by("c"):
            pass
        with seats.taken_by(None), pytest.raises(Full), seats.taken_by(None):
            pass
    with seats.taken_by("a"), seats.taken_by("a"):
        pass


def test_a_seat_is_given_back_whatever_happens() -> None:
    seats = Seats(in_all=1, of_one_address=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), seats.taken_by("a"):
            raise ZeroDivisionError
    with seats.taken_by("a"):
        pass
