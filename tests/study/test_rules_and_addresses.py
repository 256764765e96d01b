from __future__ import annotations

import ipaddress
import socket
import time

import pytest

from jobrunner.study import GitRules, RepositoryNotAllowed, Unreachable, parse_repository_url
from jobrunner.study.addresses import curl_pin, is_allowed, resolve
from jobrunner.study.deadline import Deadline

pytestmark = pytest.mark.unit

RULES = GitRules(("https://git.site.example",))
URL = parse_repository_url("https://git.site.example/a/study", RULES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"allowed_prefixes": ("http://127.0.0.1:1/x",)}, "must start with https"),
        ({"allowed_prefixes": ("https://git.site.example/a/",)}, "malformed"),
        ({"allowed_prefixes": ("git.site.example",)}, "must start with https"),
        ({"allow_private_addresses": frozenset({"10.0.0.300"})}, "10.0.0.300"),
        ({"tokens": {"other.example": "t"}}, "no allowed prefix"),
        ({"tokens": {"git.site.example": "t\nX: y"}}, "not ASCII"),
        ({"tolerated_faults": frozenset({"hasDotgit"})}, "hasDotgit"),
    ],
)
def test_a_policy_that_cannot_be_meant_stops_the_start(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        GitRules(**{"allowed_prefixes": ("https://git.site.example",), **changes})  # type: ignore[arg-type]

    assert "X: y" not in str(error.value)


def test_a_token_is_not_in_the_text_of_the_rules() -> None:
    rules = GitRules(("https://git.site.example",), tokens={"git.site.example": "canary"})

    assert "canary" not in repr(rules)


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1", "224.0.0.1"),
        *("::1", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1", "::"),
    ],
)
def test_addresses_inside_are_refused_unless_policy_lists_them(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    listed = GitRules(("https://git.site.example",), allow_private_addresses=frozenset({address}))

    assert not is_allowed(parsed, RULES, loopback=False)
    assert is_allowed(parsed, listed, loopback=False)


@pytest.mark.parametrize("address", ["140.82.121.3", "2a04:4e42::347", "64:ff9b::8c52:7903"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), RULES, loopback=False)
    assert not is_allowed(ipaddress.ip_address(address), RULES, loopback=True)


def test_one_address_inside_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("140.82.121.3", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(RepositoryNotAllowed) as refused:
        resolve(URL, RULES, Deadline.after(1, None))

    assert refused.value.detail == "address"


def test_all_addresses_are_pinned() -> None:
    addresses = (ipaddress.ip_address("140.82.121.3"), ipaddress.ip_address("2a04:4e42::347"))

    assert curl_pin(URL, addresses) == "git.site.example:443:140.82.121.3,[2a04:4e42::347]"


def test_a_resolver_that_fails_or_hangs_is_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable):
        resolve(URL, RULES, Deadline.after(1, None))

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(0.5) or [])
    started = time.monotonic()
    with pytest.raises(Unreachable):
        resolve(URL, RULES, Deadline.after(0.05, None))
    assert time.monotonic() - started < 0.4
