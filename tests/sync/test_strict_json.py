"""JSON that two readers could read in two ways is no JSON here (threats.md P06)."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobrunner.sync.strict_json import MAX_DEPTH, NotStrictJson, parse

pytestmark = pytest.mark.unit

LIMIT = 100_000

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc\u00e9\n"), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=400) | st.text(alphabet='{}[]":,0123456789.eE+-\\u dnaNtrufls').map(str.encode))
@example(b"\xff")
@example(b"\xef\xbb\xbf{}")
@example(b'{"a": "\\ud800"}')
@example(b"-")
@example(b'"' + b"\\" * 99)
@example(b"1" * 5000)
@example(b"[" * 99_999)
@example(b"\x00")
def test_any_bytes_give_a_value_or_the_one_error(raw: bytes) -> None:
    try:
        value = parse(raw, limit=LIMIT)
    except NotStrictJson:
        return
    assert value == json.loads(raw)


@given(values, st.booleans())
def test_ordinary_json_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode(), limit=LIMIT) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        '{"b": {"a": 1, "a": 1}}',
        '[{"": 0, "": 0}]',
    ],
)
def test_duplicate_keys_are_refused(text: str) -> None:
    with pytest.raises(NotStrictJson, match="twice"):
        parse(text.encode(), limit=LIMIT)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e400", "[-1e999]"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(NotStrictJson, match=r"finite|NaN"):
        parse(text.encode(), limit=LIMIT)


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**64, 10**17, 10**400, int("9" * 4300)])
def test_integers_beyond_what_every_reader_keeps_are_refused(number: int) -> None:
    with pytest.raises(NotStrictJson, match="too large"):
        parse(f'{{"a": {number}}}'.encode(), limit=LIMIT)


def test_the_largest_integers_pass() -> None:
    assert parse(str(2**53 - 1).encode(), limit=LIMIT) == 2**53 - 1
    assert parse(str(1 - 2**53).encode(), limit=LIMIT) == 1 - 2**53


def test_an_integer_of_many_digits_costs_no_time() -> None:
    with pytest.raises(NotStrictJson, match="too large"):
        parse(b"7" * 500_000, limit=1_000_000)


@pytest.mark.parametrize("text", [r'"\ud800"', r'["\udc00"]', r'{"\ud83d": 1}', r'"\ude00\ud83d"'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(NotStrictJson):
        parse(text.encode(), limit=LIMIT)


@pytest.mark.parametrize("text", [r'"\u0000"', r'{"a": ["x\u0000y"]}', r'[{"\u0000": 1}]', r'"\\\u0000"'])
def test_a_nul_is_refused(text: str) -> None:
    with pytest.raises(NotStrictJson, match="NUL"):
        parse(text.encode(), limit=LIMIT)


def test_the_text_of_an_escape_is_no_nul() -> None:
    assert parse(rb'"\\u0000"', limit=LIMIT) == r"\u0000"


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert parse(rb'"\ud83d\ude00"', limit=LIMIT) == "\U0001f600"


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_16_passes_and_17_does_not(brackets: str) -> None:
    def nested(depth: int) -> bytes:
        if brackets == "[]":
            return b"[" * depth + b"]" * depth
        return b'{"a":' * (depth - 1) + b"{" + b"}" * depth

    parse(nested(MAX_DEPTH), limit=LIMIT)
    with pytest.raises(NotStrictJson, match="deeper"):
        parse(nested(MAX_DEPTH + 1), limit=LIMIT)


@pytest.mark.parametrize(
    "text", ['"[[[[[[[[[[[[[[[[[[[["', r'"\"[[[[[[[[[[[[[[[[[[[["', r'["\\", "[{[{[{[{[{[{[{[{[{"]']
)
def test_brackets_in_strings_are_not_depth(text: str) -> None:
    assert parse(text.encode(), limit=LIMIT) == json.loads(text)


def test_depth_is_counted_before_the_parser_sees_it() -> None:
    # Two million brackets would take the parser's stack or memory; counting stops at the 17th.
    with pytest.raises(NotStrictJson, match="deeper"):
        parse(b"[" * 2_000_000, limit=3_000_000)


def test_one_byte_too_many_is_refused() -> None:
    assert parse(b'"aa"', limit=4) == "aa"
    with pytest.raises(NotStrictJson, match="longer"):
        parse(b'"aaa"', limit=4)


def test_the_error_does_not_quote_what_was_sent() -> None:
    with pytest.raises(NotStrictJson) as caught:
        parse(b'{"secret": 1, "secret": 2}', limit=LIMIT)
    assert "secret" not in str(caught.value)
