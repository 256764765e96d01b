from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.study import GitRules, RepositoryNotAllowed, parse_repository_url

pytestmark = pytest.mark.unit

RULES = GitRules(("https://github.com/opensafely", "https://git.site.example"))
LOOPBACK = GitRules(("http://127.0.0.1:8080/studies", "http://localhost:8081"), allow_loopback_http=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/opensafely/my-study",
        "https://github.com/opensafely/my-study.git",
        "https://github.com/opensafely/.github",
        "https://git.site.example/any/depth/of/group",
    ],
)
def test_an_address_below_a_prefix_is_taken_as_it_is(url: str) -> None:
    found = parse_repository_url(url, RULES)

    assert found.text == url
    assert (found.scheme, found.port) == ("https", 443)


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://github.com/opensafely-evil/study", "url"),
        ("https://github.com/OpenSAFELY/study", "url"),
        ("https://github.com/other/opensafely/study", "url"),
        ("https://github.com", "url"),
        ("https://github.com/opensafely/", "url"),
        ("https://github.com/opensafely//study", "url"),
        ("https://github.com/opensafely/../other/study", "url"),
        ("https://github.com/opensafely/./study", "url"),
        ("https://github.com/opensafely/-study", "url"),
        ("https://github.com/opensafely/%2e%2e/study", "url"),
        ("https://github.com/opensafely/study?x=1", "url"),
        ("https://github.com/opensafely/study#x", "url"),
        ("https://github.com/opensafely/study\n", "url"),
        ("https://github.com/opensafely/st\u00fcdy", "url"),
        ("https://user:secret@github.com/opensafely/study", "url"),
        ("https://github.com@evil.example/opensafely/study", "url"),
        ("https://github.com:443/opensafely/study", "url"),
        ("https://GitHub.com/opensafely/study", "url"),
        ("https://github.com./opensafely/study", "url"),
        ("https://140.82.121.3/opensafely/study", "url"),
        ("https://[::1]/opensafely/study", "url"),
        ("https://2130706433/opensafely/study", "url"),
        ("https://github.com/opensafely/" + "s" * 300, "url"),
        ("https://github.com.evil.example/opensafely/study", "host"),
        ("https://evil.example/github.com/opensafely/study", "host"),
        ("http://github.com/opensafely/study", "protocol"),
        ("http://127.0.0.1:8080/studies/x", "protocol"),
        ("HTTPS://github.com/opensafely/study", "protocol"),
        ("ssh://-oProxyCommand=id/x", "protocol"),
        ("git@github.com:opensafely/study", "protocol"),
        ("git://github.com/opensafely/study", "protocol"),
        ("file:///etc", "protocol"),
        ("ext::sh -c id", "url"),
        ("ext::id", "protocol"),
        ("--upload-pack=id", "protocol"),
        ("/etc", "protocol"),
        ("", "url"),
    ],
)
def test_anything_else_is_refused(url: str, detail: str) -> None:
    with pytest.raises(RepositoryNotAllowed) as refused:
        parse_repository_url(url, RULES)

    assert refused.value.detail == detail
    assert refused.value.reason == "repository_not_allowed"
    assert "secret" not in refused.value.message


def test_loopback_http_needs_the_mode_the_address_and_the_port() -> None:
    found = parse_repository_url("http://127.0.0.1:8080/studies/x", LOOPBACK)

    assert (found.host, found.port, found.netloc) == ("127.0.0.1", 8080, "127.0.0.1:8080")
    for url, detail in [
        ("http://127.0.0.1:8081/studies/x", "host"),
        ("http://127.0.0.1/studies/x", "url"),
        ("http://127.0.0.1:08080/studies/x", "url"),
        ("http://10.0.0.1:8080/studies/x", "protocol"),
        ("http://example.org:8080/studies/x", "protocol"),
        ("http://127.0.0.1:8080/other/x", "url"),
    ]:
        with pytest.raises(RepositoryNotAllowed) as refused:
            parse_repository_url(url, LOOPBACK)
        assert refused.value.detail == detail, url


def test_two_addresses_never_share_a_mirror() -> None:
    urls = [f"https://git.site.example/{name}" for name in ("a/study", "b/study", "a/study.git")]

    assert len({parse_repository_url(url, RULES).key for url in urls}) == 3


@given(st.text(max_size=80))
def test_no_text_gets_past_the_prefix_but_plain_segments(text: str) -> None:
    url = f"https://github.com/opensafely{text}"
    try:
        found = parse_repository_url(url, RULES)
    except RepositoryNotAllowed:
        return

    assert found.host == "github.com"
    assert text == "" or text.startswith("/")
    assert not {"..", ".", ""} & set(text.split("/")[1:])
    assert not set(text) & set("?#%@:\\ \n\0")


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_refusal(text: str) -> None:
    try:
        found = parse_repository_url(text, RULES)
    except RepositoryNotAllowed:
        return

    assert found.text == text
