import pytest

from jobrunner.privacy.disclosure import engine, rulebook
from jobrunner.privacy.disclosure.rulebook import RulebookError, load
from jobrunner.privacy.disclosure.rules import RULES

pytestmark = pytest.mark.unit
DEFAULT = rulebook.default_rulebook().decode()


def changed(old: str, new: str) -> bytes:
    assert DEFAULT.count(old) == 1
    return DEFAULT.replace(old, new).encode()


def test_the_default_is_complete() -> None:
    book = load(rulebook.default_rulebook())
    assert book.quoted.keys() == {"id", "version", "sha256"}
    assert book.data["counts"]["redact_at_or_below"] == 7
    assert book.data["review"]["quorum"] == 2
    assert {*book.at_collection} == {*RULES, "SDC099"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ("schema = 1", 'schema = 1\nshema = "x"', "shema"),
        ("protect_width = 4 ", "protect_widht = 4 ", "protect_widht"),
        ("protect_width = 4 ", 'protect_width = "4" ', "protect_width"),
        ("protect_width = 4 ", "protect_width = -4 ", "protect_width"),
        ("quorum = 2 ", "quorum = 1 ", "quorum"),
        ("quorum = 2 ", "quorum = true ", "quorum"),
        ("redact_at_or_below = 7 ", "redact_at_or_below = 5 ", "base"),
        ("base = 5 ", "base = 0 ", "base"),
        ('extends = "" ', 'extends = "default@1" ', "extends"),
        ('coverage = "full" ', 'coverage = "half" ', "coverage"),
        ("rows = 5000,", "", "rows"),
        ('"SDC033", "SDC099"]', '"SDC033"]', "SDC099"),
        ('"SDC033", "SDC099"]', '"SDC777", "SDC099"]', "SDC777"),
        ("[rules.SDC030]", "[rules.SDC030]\ncolour = 1", "SDC030"),
        ("[rules.SDC030]", "[rules.SDC030]\nenabled = 1", "SDC030"),
        ("[rules.SDC099]", "[rules.SDC099]\nenabled = false", "SDC099"),
    ],
)
def test_a_wrong_rulebook_is_refused_with_its_key(old: str, new: str, says: str) -> None:
    with pytest.raises(RulebookError, match=says):
        load(changed(old, new))


@pytest.mark.parametrize("content", [b"", b"\xff", b"a = [", b"[" * 10_000])
def test_what_is_no_rulebook_is_refused(content: bytes) -> None:
    with pytest.raises(RulebookError):
        load(content)


def test_a_threshold_is_data() -> None:

    narrow = load(changed("rows = 5000,", "rows = 2,"))
    data = b"a,n\nx,10\ny,15\nz,20\n"
    assert any(
        one.rule == "SDC031" for one in engine.check_bytes("t.csv", data, len(data), "0", narrow).findings
    )
    wide = load(rulebook.default_rulebook())
    assert engine.check_bytes("t.csv", data, len(data), "0", wide).findings == ()
