"""Addresses of controllers that a secret may travel to."""

import pytest

from jobrunner.sync.address import InsecureController, check_address

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "url",
    [
        "http://controller.example",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "ftp://controller.example",
        "controller.example",
        "file:///etc/passwd",
        "https://user@controller.example",
        "https://:secret@controller.example",
        "https://controller.example?x=1",
        "https://controller.example#x",
        "https://controller.example:99999",
        "https://controller.example:x",
        "https://[half",
        "https://two words.example",
        "https://controller.example/a path",
        "https://contro\nller.example",
        "https://controller.example\x00",
        "https://controller.example\\@evil.example",
        "https://contr%6Fller.example",
        "https://contröller.example",
        "https://[fe80::1%25eth0]",
        "https://[::1]x.example:80",
        "https://x[::1]:80",
        "http://[::1]x.example",
        "https://[v1.x]",
        "https://controller.example?",
        "https://controller.example#",
        "https://",
        "",
    ],
)
@pytest.mark.parametrize("loopback", [True, False])
def test_other_addresses_are_refused(url: str, loopback: bool) -> None:
    with pytest.raises(InsecureController):
        check_address(url, allow_loopback_http=loopback)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_http_is_for_loopback_and_only_where_allowed(url: str) -> None:
    assert check_address(url + "/", allow_loopback_http=True) == url
    with pytest.raises(InsecureController):
        check_address(url, allow_loopback_http=False)


@pytest.mark.parametrize("url", ["https://controller.example", "https://controller.example:8443/jobrunner"])
def test_https_is_fine_everywhere(url: str) -> None:
    assert check_address(url + "/", allow_loopback_http=False) == url
