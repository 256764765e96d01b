"""The text of approvals: strict, canonical, bounded (threats.md section 6, approval check step 1)."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.sync.approvals import Payload, canonical, read_envelope
from jobrunner.sync.messages import MAX_APPROVAL_BYTES, Malformed

pytestmark = pytest.mark.unit

PAYLOAD: dict[str, Any] = {
    "approval_id": "heart-study-1",
    "serial": 1,
    "project": "heart-study",
    "sites": ["site-one"],
    "repos": ["https://git.example/org/heart"],
    "branches": ["main"],
    "commits": "on_branch",
    "actions": "all",
    "database": False,
    "datasets": [],
    "not_before": 1_790_000_000,
    "not_after": 1_800_000_000,
}


def envelope(payload: str, **changes: Any) -> str:
    return json.dumps({"payload": payload, "signatures": ["s"]} | changes)


def refused(text: str) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read_envelope(text)
    return caught.value


def test_a_canonical_payload_is_read() -> None:
    read, payload = read_envelope(envelope(canonical(PAYLOAD)))
    assert read.signatures == ("s",)
    assert payload.model_dump(mode="json") == PAYLOAD


def test_canonical_form_has_sorted_keys_and_no_spaces() -> None:
    assert canonical({"b": 1, "a": [True, "x"]}) == '{"a":[true,"x"],"b":1}'


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace(":", ": ", 1),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")),
        lambda text: text.replace("main", "\\u006dain"),
        lambda text: text.replace("1790000000", "-0"),
    ],
    ids=["newline", "space", "colon", "dumps", "order", "escape", "minus-zero"],
)
def test_another_spelling_of_the_same_payload_is_refused(change: Any) -> None:
    text = canonical(PAYLOAD)
    assert change(text) != text
    refused(envelope(change(text)))


def test_duplicate_fields_are_refused_in_both_layers() -> None:
    text = canonical(PAYLOAD)
    assert "twice" in str(refused(envelope(text.replace('"serial":1', '"serial":1,"serial":2'))))
    assert "twice" in str(refused(envelope(text).replace('"signatures"', '"payload": "x", "signatures"')))


def test_unknown_fields_are_refused_in_both_layers() -> None:
    assert refused(envelope(canonical(PAYLOAD | {"note": "x"}))).unknown_field
    assert refused(envelope(canonical(PAYLOAD), note="x")).unknown_field


@pytest.mark.parametrize("name", sorted(PAYLOAD))
def test_every_field_is_needed_and_none_is_guessed(name: str) -> None:
    rest = {key: value for key, value in PAYLOAD.items() if key != name}
    refused(envelope(canonical(rest)))
    for wrong in (None, 1.5, {"x": 1}, [[]]):
        refused(envelope(canonical(PAYLOAD | {name: wrong})))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("serial", 0), ("serial", 2**31 + 1), ("serial", True), ("serial", "1"), ("database", 1),
        ("sites", []), ("sites", ["s"] * 65), ("sites", ["S"]), ("sites", "site-one"),
        ("repos", []), ("repos", ["r"] * 33), ("repos", ["r" * 301]), ("repos", [""]),
        ("branches", []), ("branches", ["b"] * 33), ("branches", ["b" * 201]),
        ("commits", []), ("commits", ["0" * 40] * 201), ("commits", ["0" * 39]), ("commits", "all"),
        ("actions", []), ("actions", ["a"] * 65), ("actions", ["a" * 129]), ("actions", "on_branch"),
        ("datasets", ["d"] * 65), ("project", "p" * 41), ("approval_id", ""), ("not_after", -1),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(name: str, value: Any) -> None:
    refused(envelope(canonical(PAYLOAD | {name: value})))


def test_lists_at_their_largest_pass() -> None:
    for change in ({"actions": ["a"] * 64}, {"sites": ["s"] * 64}, {"commits": ["0" * 40] * 200}):
        _envelope, payload = read_envelope(envelope(canonical(PAYLOAD | change)))
        assert payload.model_dump(mode="json") == PAYLOAD | change


@pytest.mark.parametrize("signatures", [[], ["s"] * 9, [""], "s", [1], None])
def test_there_are_one_to_eight_signatures(signatures: Any) -> None:
    refused(envelope(canonical(PAYLOAD), signatures=signatures))
    read_envelope(envelope(canonical(PAYLOAD), signatures=["s"] * 8))


def test_16_kib_pass_and_a_byte_more_does_not() -> None:
    text = envelope(canonical(PAYLOAD))
    read_envelope(text + " " * (MAX_APPROVAL_BYTES - len(text)))
    assert "longer" in str(refused(text + " " * (MAX_APPROVAL_BYTES - len(text) + 1)))


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "\ud800", '{"payload": "\\ud800", "signatures": ["s"]}']
)
def test_rubbish_is_refused(text: str) -> None:
    refused(text)


@given(
    st.text(max_size=80)
    | st.dictionaries(st.sampled_from(["payload", "signatures", "x"]), st.text()).map(json.dumps)
)
def test_any_text_is_an_envelope_or_malformed(text: str) -> None:
    refused(text)


urls = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=70)


@given(st.lists(urls, min_size=1, max_size=3), st.integers(1, 2**31), st.booleans())
def test_what_is_read_is_what_was_signed(repos: list[str], serial: int, database: bool) -> None:
    text = canonical(PAYLOAD | {"repos": repos, "serial": serial, "database": database})
    read, payload = read_envelope(envelope(text))
    assert read.payload == text
    assert rfc8785.dumps(payload.model_dump(mode="json")).decode() == text


JOB = {
    "project": "heart-study",
    "repo": "https://git.example/org/heart",
    "branch": "main",
    "commit": "0" * 40,
    "action": "describe",
}


def approved(**changes: Any) -> Payload:
    return read_envelope(envelope(canonical(PAYLOAD | changes)))[1]


def test_an_approval_covers_what_it_names() -> None:
    assert approved().mismatch(**JOB) is None
    assert approved(commits=["1" * 40, "0" * 40], actions=["x", "describe"]).mismatch(**JOB) is None


@pytest.mark.parametrize(
    ("field", "changes", "job"),
    [
        ("project", {}, {"project": "other"}),
        ("repo", {}, {"repo": "https://git.example/org/heart2"}),
        ("repo", {}, {"repo": "https://git.example/org/heart/"}),
        ("branch", {}, {"branch": "Main"}),
        ("commit", {"commits": ["1" * 40]}, {}),
        ("action", {"actions": ["describ", "describe2"]}, {}),
    ],
)
def test_an_approval_covers_nothing_else(field: str, changes: dict[str, Any], job: dict[str, str]) -> None:
    assert approved(**changes).mismatch(**(JOB | job)) == field
