"""How text becomes a tree: YAML 1.2 as the format has it, plain scalars, merge keys, positions, budgets."""

import math
from typing import Any

import pytest

from jobrunner.pipeline import load
from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.nodes import Plainer
from tests.pipeline.examples import build

pytestmark = pytest.mark.unit


def read(text: str | bytes) -> Any:
    """The plain value of a text that must be read without any problem."""
    root, problems = read_tree(text if isinstance(text, bytes) else text.encode())
    assert root is not None, problems
    assert problems == []
    return Plainer().value(root)


def problems_of(text: str | bytes) -> list[tuple[str, int, int]]:
    _, problems = read_tree(text if isinstance(text, bytes) else text.encode())
    return [(problem.id, problem.line, problem.column) for problem in problems]


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_plain_null(text: str) -> None:
    assert read(f"a: {text}") == {"a": None}


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_plain_true(text: str) -> None:
    assert read(f"a: {text}")["a"] is True


@pytest.mark.parametrize("text", ["false", "False", "FALSE"])
def test_plain_false(text: str) -> None:
    assert read(f"a: {text}")["a"] is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("012", 12), ("-7", -7), ("+7", 7), ("0x1f", 31), ("-0x1F", -31), ("0o17", 15), ("0b11", 3),
     ("1_000", 1000), ("0x1_f", 31), ("5_", 5), ("0", 0)],
)  # fmt: skip
def test_plain_integer(text: str, value: int) -> None:
    found = read(f"a: {text}")["a"]

    assert found == value
    assert type(found) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("1_0.5", 10.5),
     (".inf", math.inf), ("-.inf", -math.inf), ("1e999", math.inf)],
)  # fmt: skip
def test_plain_float(text: str, value: float) -> None:
    found = read(f"a: {text}")["a"]

    assert found == value
    assert type(found) is float


def test_plain_nan() -> None:
    assert math.isnan(read("a: .nan")["a"])


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "2020-01-01", "1:30", "5.0.0", "0x", "0o8", "0b2", "0X1f", "_1", "._5",
     "+.inf", ".Inf", ".NaN", "e3", ".", "+", "tRue", "nULL", "1e", "1e+", "--1", "1-1", "0x1g", "=", "1 2"],
)  # fmt: skip
def test_all_else_is_text(text: str) -> None:
    assert read(f"a: {text}") == {"a": text}


def test_quoted_and_block_scalars_are_text() -> None:
    assert read("a: '1'\nb: \"true\"\nc: |\n  1\nd: >-\n  null\n") == {
        "a": "1",
        "b": "true",
        "c": "1\n",
        "d": "null",
    }


def test_integer_of_many_digits_is_read_in_time_and_cannot_stand_in_config() -> None:
    digits = "9" * 1_000_000

    loaded = load(build(("model", f"config: {{a: {digits}}}")))

    assert [problem.id for problem in loaded.problems] == ["PS050"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("!!str 5", "5"), ("!!str", ""), ("!!int '5'", 5), ("!!float 1", 1.0), ("!!bool true", True),
     ("!!null ''", None),
     ("!!map {a: 1}", {"a": 1}), ("!!seq [1]", [1])],
)  # fmt: skip
def test_tags(text: str, value: object) -> None:
    assert read(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    "text",
    [
        "!!int x",
        "!!int 1.5",
        "!!bool yes",
        "!!null x",
        "!!float x",
        "!!str [1]",
        "!!map [1]",
        "!!seq {}",
        "!!map",
    ],
)
def test_tag_that_does_not_fit_is_no_yaml(text: str) -> None:
    assert problems_of(f"a: {text}") == [("PY001", 1, 4)]


@pytest.mark.parametrize(
    "text",
    [
        "!x 1",
        "! 1",
        "!!python/object/apply:os.system [id]",
        "!!set {}",
        "!!binary aGk=",
        "!<tag:x> 1",
        "!!timestamp 1",
    ],
)
def test_other_tag_is_refused_and_ignored(text: str) -> None:
    assert problems_of(f"a: {text}") == [("PS006", 1, 4)]


def test_tag_with_an_escape_that_is_no_character_is_no_yaml() -> None:
    assert [found[0] for found in problems_of("!%ED%A0%80 a")] == ["PY001"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{run: r:v2 a.R}", {"run": "r:v2 a.R"}),
        ("{a: http://x:80/z?q=1, b: c}", {"a": "http://x:80/z?q=1", "b": "c"}),
        ("[a:b, ::c, :d, ?e]", ["a:b", "::c", ":d", "?e"]),
        ("{a: :b, ?c: d, :e: f}", {"a": ":b", "?c": "d", ":e": "f"}),
        ('{"a":b, c: [d: e]}', {"a": "b", "c": [{"d": "e"}]}),
        ("{a, b: , c: d}", {"a": None, "b": None, "c": "d"}),
    ],
)
def test_flow_style(text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\tb", {"a": "b"}),
        ("-\ta", ["a"]),
        ("- \t a\t# b", ["a"]),
        ("a: b\n\t\nc: d", {"a": "b", "c": "d"}),
        ("a:\n\t# x\n  b: c", {"a": {"b": "c"}}),
        ("a: [b,\tc]", {"a": ["b", "c"]}),
        ("a: |\n  b\tc\n", {"a": "b\tc\n"}),
    ],
)
def test_tab_separates(text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a:\n\tb: c",
        "a:\n  b: c\n\td: e",
        "-\ta: b",
        "-\t- a",
        "?\ta: b",
        "a: {\n\tb: c}",
        "a:\n\t- b",
        "a: b\n\tc",
    ],
)
def test_tab_does_not_indent(text: str) -> None:
    assert [found[0] for found in problems_of(text)] == ["PY001"]


@pytest.mark.slow
def test_many_tabs_after_dashes_are_read_or_refused_in_bounded_time() -> None:
    assert read("-\ta\n" * 300) == ["a"] * 300
    assert [found[0] for found in problems_of("-\ta\n" * 100_000)] == ["PY001"]


def test_merge_keys() -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\none: {<<: *x, b: 9}\nmore: {d: 5, <<: [*y, *x]}\n"

    found = read(text)

    assert found["one"] == {"b": 9, "a": 1}
    assert list(found["more"].items()) == [("d", 5), ("b", 3), ("c", 4), ("a", 1)]


def test_quoted_merge_sign_is_an_ordinary_key() -> None:
    assert read("'<<': 1\n\"a\": <<\n") == {"<<": 1, "a": "<<"}


@pytest.mark.parametrize("text", ["<<: 1", "<<: [1]", "<<: x", "<<:", "a: &a [1]\n<<: [*a]"])
def test_merge_of_something_else_is_refused(text: str) -> None:
    assert [found[0] for found in problems_of(text)] == ["PY004"]


def test_merge_chain_is_not_depth() -> None:
    lines = ["a0: &a0 {k0: v}", *(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: v}}" for n in range(1, 200))]

    assert len(read("\n".join(lines))["a199"]) == 200


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: 1\na: 2", [(2, 1)]),
        ("a: {b: {c: 1, c: 2, c: 3}}", [(1, 15), (1, 21)]),
        ("<<: {a: 1}\n<<: {b: 2}", [(2, 1)]),
        ("a: 1\n'a': 2", [(2, 1)]),
    ],
)
def test_repeated_key(text: str, places: list[tuple[int, int]]) -> None:
    assert problems_of(text) == [("PY003", line, column) for line, column in places]


def test_repeated_keys_that_are_no_strings() -> None:
    assert problems_of("1: a\n0x1: b\n1.0: c\n'1': d") == [
        ("PS009", 1, 1), ("PS009", 2, 1), ("PY003", 2, 1), ("PS009", 3, 1)
    ]  # fmt: skip
    assert problems_of("{[a, {b: 1}]: 1, [a, {b: 1}]: 2, [b]: 3}") == [
        ("PS009", 1, 2), ("PS009", 1, 18), ("PY003", 1, 18), ("PS009", 1, 34)
    ]  # fmt: skip


def test_merged_key_is_no_repeat() -> None:
    assert read("x: &x {a: 1}\ny: {<<: *x, a: 2}")["y"] == {"a": 2}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("é: 1\nb: ü\nb: 3", (3, 1)),
        ("\ufeffa: 1\na: 2", (2, 1)),
        ("\ufeff{é: 1, é: 2}", (1, 8)),
        ("a: 1\r\nb: 1\r\nb: 2", (3, 1)),
        ("a: 1\rb: 1\rb: 2", (3, 1)),
        ("{\U0001f600: 1, \U0001f600: 2}", (1, 8)),
        ("{a:\t1, a: 2}", (1, 8)),
    ],
)
def test_places_count_characters(data: str, place: tuple[int, int]) -> None:
    assert problems_of(data) == [("PY003", *place)]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ("-needs\n+needs: &y\n+  - &z 1", ("PS021", 10, 9)),
        ("needs: &n 1", ("PY035", 8, 12)),
        ("needs: !!int 1", ("PY035", 8, 12)),
        ("run: |2", ("PY060", 7, 10)),
    ],
)
def test_a_value_begins_at_its_anchor_tag_or_sign(lines: str, place: tuple[str, int, int]) -> None:
    found = [(p.id, p.line, p.column) for p in load(build(("model", lines))).problems]

    assert place in found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("actions:\n  a:\n    run:   # none\n", (3, 9)),
        ("actions: {a: {run: , x: 1}}", (1, 19)),
        ("actions: {a: {run:   # x: y\n  , x: 1}}", (1, 19)),
        ("actions: {a: {? run\n :\n , x: 1}}", (2, 3)),
        ("actions: {a: {? run : }}", (1, 22)),
    ],
)
def test_a_value_left_empty_is_just_after_its_colon(text: str, place: tuple[int, int]) -> None:
    found = [(p.line, p.column) for p in load(text.encode()).problems if p.id == "PY035"]

    assert found == [place]


def test_entry_left_empty_is_just_after_its_dash() -> None:
    loaded = load(build(("model", "-needs\n+needs:\n+-  # none\n+- extract")))

    assert [(p.id, p.line, p.column) for p in loaded.problems] == [("PS021", 10, 6)]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a: b\x07", ("PY002", 1, 5)),
        (b"a: \xe9", ("PY002", 1, 4)),
        (b"\xef\xbb\xbfa: \xc3\xa9\xff", ("PY002", 1, 5)),
        (b"\x00", ("PY002", 1, 1)),
        (b"x: 1\r\ny: \x7f", ("PY002", 2, 4)),
        ("a: \ufffe".encode(), ("PY002", 1, 4)),
        ("a: \x9f".encode(), ("PY002", 1, 4)),
        ("a: '\x85'".encode(), ("PS005", 1, 5)),
        ("# \u2028".encode(), ("PS005", 1, 3)),
        ("a: 'x'\n\n b\u2029".encode(), ("PS005", 3, 3)),
        ("a: \x85 \x07".encode(), ("PS005", 1, 4)),
        (b"\xff\xfea\x00", ("PS005", 1, 1)),
        (b"\xfe\xff\x00a", ("PS005", 1, 1)),
        (b"\xff\xfe\x00\x00", ("PS005", 1, 1)),
        (b"\x00\x00\xfe\xff", ("PS005", 1, 1)),
    ],
)
def test_characters_that_no_file_may_hold(data: bytes, found: tuple[str, int, int]) -> None:
    assert problems_of(data) == [found]


def test_characters_are_fine_as_escapes() -> None:
    assert read(r'a: "\x85\u2028\0\u263a\/"') == {"a": "\x85\u2028\0\u263a/"}


@pytest.mark.parametrize(
    "text", ["", "   ", "# x", "\n\n", "---\n", "~", "null", "---\n...\n", "\ufeff", "!!null"]
)
def test_nothing_in_the_file(text: str) -> None:
    assert [(p.id, p.line, p.column) for p in load(text.encode()).problems] == [("PS007", 1, 1)]


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2", "a: 1\n---\n", "--- 1\n--- 2", "a: 1\n...\nb: 1\n"])
def test_second_document(text: str) -> None:
    assert [found[0] for found in problems_of(text)] == ["PY005"]


def test_marks_around_one_document() -> None:
    assert read("%YAML 1.2\n---\na: 1\n...\n# end\n") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%YAML 1.1\n---\na: 1", [("PS006", 1, 1)]),
        ("# x\n%YAML 1.3\n---\na: 1", [("PS006", 2, 1)]),
        ("%FOO bar\n---\na: 1", [("PS006", 1, 1)]),
        ("%TAG !e! tag:yaml.org,2002:\n---\na: !e!int 5", [("PS006", 1, 1)]),
        ("%YAML 1.2\n%YAML 1.2\n---\na: 1", [("PY001", 2, 1)]),
        ("%FOO bar\na: 1", [("PS006", 1, 1), ("PY001", 2, 1)]),
        ("%YAML 1.2\na: 1", [("PY001", 2, 1)]),
    ],
)
def test_directives(text: str, found: list[tuple[str, int, int]]) -> None:
    assert problems_of(text) == found


def test_depth_64_is_fine_and_65_is_not() -> None:
    # The top mapping is 1, its value 2: 63 lists, the last of them empty, reach 64.
    assert problems_of("a: " + "[" * 63 + "]" * 63) == []
    assert [found[0] for found in problems_of("a: " + "[" * 64 + "]" * 64)] == ["PS002"]
    assert [found[0] for found in problems_of("a: " + "[" * 63 + "1" + "]" * 63)] == ["PS002"]


def test_depth_counts_what_an_alias_stands_for() -> None:
    chain = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [[[*a{n - 1}]]]\n" for n in range(1, 30))

    assert [found[0] for found in problems_of(chain)] == ["PS002"]


def test_a_million_nodes_are_fine_and_one_more_is_not() -> None:
    # `a` and its list: 1,001. `b` and its list: 2, then 1,000 for each alias and 1 for each other entry.
    text = "a: &a [" + "1," * 999 + "]\nb: [" + "*a ," * 998

    assert problems_of(text + "1," * 997 + "]") == []
    assert [found[0] for found in problems_of(text + "1," * 998 + "]")] == ["PS003"]


def test_alias_inside_itself() -> None:
    assert [found[0] for found in problems_of("a: &a\n  b: [*a]\n")] == ["PS004"]
    assert read("a: &a\n  b: &a 1\n  c: *a\n") == {"a": {"b": 1, "c": 1}}


def test_unknown_alias_is_no_yaml() -> None:
    assert problems_of("a: *b") == [("PY001", 1, 4)]


@pytest.mark.parametrize("name", ["a.b", "é", "ein/weg", "x!", "a&b", "漢字", 'a"b', "1.5", "-.-", "a_b-c+d"])
def test_anchors_may_have_any_sign_in_their_name(name: str) -> None:
    text = f"a: &{name} [1]\nb: *{name}\nc: '&{name} *{name}'\nd: {{e: *{name} , f: &00 2, g: &0 3}}\n"

    assert read(text) == {"a": [1], "b": [1], "c": f"&{name} *{name}", "d": {"e": [1], "f": 2, "g": 3}}


def test_two_odd_anchors_stay_two() -> None:
    assert read("a: &x.y 1\nb: &x.z 2\nc: [*x.z , *x.y ]\nd: &é 3\ne: &ü 4\nf: [*ü , *é ]\n") == {
        "a": 1, "b": 2, "c": [2, 1], "d": 3, "e": 4, "f": [4, 3]
    }  # fmt: skip


def test_places_and_messages_have_the_odd_name_as_written() -> None:
    text = "a: &x.y 1\nb: *x.yz\n"
    _, problems = read_tree(text.encode())

    assert [(p.id, p.line, p.column) for p in problems] == [("PY001", 2, 4)]
    assert "`*x.yz`" in problems[0].message


@pytest.mark.parametrize("text", ["a: & b", "a: &", "a: *", "a: &[x]", "a: *{}", "a: &a,b 1"])
def test_an_anchor_without_a_name_is_no_yaml(text: str) -> None:
    assert [found[0] for found in problems_of(text)] == ["PY001"]
