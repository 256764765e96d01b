"""What is wrong in a policy file is told in plain sentences, whatever stands in the file."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from jobrunner.agent.policy import Policy, PolicyProblem, load_site, parse_policy
from jobrunner.agent.policy_wording import SETTINGS
from tests.agent.policies import IMAGE_ID, policy, toml, write_site

pytestmark = pytest.mark.unit

PLACE: Final = Path("agent.toml")
DATABASE: Final = {"dataset": "cohort", "kind": "sqlite", "file": "x", "images": {IMAGE_ID: "any"}}
# Words of the validation library that say nothing to an admin.
FOREIGN: Final = (
    "Input should",
    "tuple",
    "Tuple",
    "dictionary",
    "instance of",
    "Section",
    "literal[",
    "String",
)


def problem(raw: str | bytes) -> str:
    with pytest.raises(PolicyProblem) as caught:
        parse_policy(raw if isinstance(raw, bytes) else raw.encode(), PLACE)
    return str(caught.value)


# --- what is said ---


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"limits__slots": 0}, "limits.slots: 0 is not allowed; it must be a whole number from 1 to 64,"),
        ({"limits__slots": "4"}, 'limits.slots: "4" is not allowed; it must be a whole number from 1 to 64'),
        ({"limits__slots": True}, "limits.slots: true is not allowed"),
        ({"limits__cores": 10**400}, "limits.cores: so large a number is not allowed; it must be a number"),
        ({"limits__cores": 1e-9}, "limits.cores: 1e-09 is not allowed"),
        ({"limits__slot": 2}, "limits.slot: there is no such setting; perhaps `slots` is meant"),
        ({"limits__network": "host"}, "limits.network: there is no such setting here; there are slots,"),
        ({"mode": "prod"}, 'mode: "prod" is not allowed; it must be "production", "dev" or "test", such'),
        ({"mode": None}, 'mode: it is missing; it must be "production", "dev" or "test"'),
        ({"folders": None}, "folders: it is missing; it must be a section of its own, such as `[folders]`"),
        ({"folders__high": ""}, 'folders.high: "" is not allowed; it must be the path of a folder in quotes'),
        ({"folders__high": "a\0b"}, "folders.high: \"a\\u0000b\" is not allowed; it must be the path of"),
        ({"controller__url": 5}, "controller.url: 5 is not allowed; it must be an address in quotes"),
        ({"git__allowed": "x"}, 'git.allowed: "x" is not allowed; it must be a list of 1 to 64 addresses'),
        ({"git__allowed": ["https://x", 3]}, "git.allowed.1: 3 is not allowed; it must be a list of 1 to"),
        ({"git__token_files": {"a.example": 3}}, "git.token_files.a.example: 3 is not allowed"),
        ({"images__r:v2": {"id": "r", "entrypoint": ["x"]}}, 'images.r:v2.id: "r" is not allowed; it must'),
        ({"images__r:v2": 3}, "images.r:v2: 3 is not allowed; it must be a section of its own, such as"),
        ({"images__r\x1bv2": 3}, 'images."r\\u001bv2": 3 is not allowed'),
        ({"database": DATABASE | {"images": {IMAGE_ID: "all"}}}, f'database.images.{IMAGE_ID}: "all" is not'),
        ({"database": DATABASE | {"images": {}}}, "database.images: an empty table is not allowed"),
        ({"database": DATABASE | {"kind": "csv"}}, 'database.kind: "csv" is not allowed; it must be'),
    ],
)  # fmt: skip
def test_a_value_is_told_with_what_is_allowed(changes: dict[str, Any], sentence: str) -> None:
    said = problem(toml(policy(**changes)))
    assert said.startswith(f"agent.toml: {sentence}")
    assert said.endswith((".", "?."))
    assert "\n" not in said
    assert not any(word in said for word in FOREIGN)


def test_several_are_told_in_a_line_each() -> None:
    first, *lines = problem(toml(policy(mode="x", backend="X", limits__slots=0))).split("\n")
    assert first == "agent.toml has 3 settings that are wrong."
    assert [line.split(":")[0] for line in lines] == ["  mode", "  backend", "  limits.slots"]


def test_a_long_value_is_cut() -> None:
    assert len(problem(toml(policy(mode="x" * 10_000)))) < 300


# --- the list of settings is that of the policy ---


def settings_of(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each setting and section of a model, with the field that it is."""
    for name, field in model.model_fields.items():
        here = (*place, name)
        yield here, field
        for section, chosen in sections_in(field.annotation):
            yield from ((((*here, "*"), None),) if chosen else ())
            yield from settings_of(section, (*here, "*") if chosen else here)


def sections_in(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections that a type holds, and whether they have names that the site chooses."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    for inner in getattr(annotation, "__args__", ()):
        for section, chosen in sections_in(inner):
            yield section, chosen or getattr(annotation, "__origin__", None) is dict


def test_every_setting_has_words_and_no_others() -> None:
    tables = {("git", "token_files"), ("images", "*", "environment"), ("database", "images")}
    expected = {place for place, _ in settings_of(Policy)} | {(*place, "*") for place in tables}
    assert SETTINGS.keys() == expected


def test_every_bound_is_named() -> None:
    for place, field in settings_of(Policy):
        for rule in (
            []
            if field is None or (*place, "*") in SETTINGS
            else [*field.metadata, *inner_rules(field.annotation)]
        ):
            bound = next((getattr(rule, n) for n in ("ge", "le", "max_length") if hasattr(rule, n)), None)
            if bound is not None:
                assert f" {bound}" in SETTINGS[place].must_be, place


def inner_rules(annotation: Any) -> list[Any]:
    """The rules of `Annotated[..., rule] | None`."""
    found = list(getattr(annotation, "__metadata__", ()))
    for rule in found:
        found = [*found, *getattr(rule, "metadata", ())] if hasattr(rule, "metadata") else found
    return found + [rule for inner in getattr(annotation, "__args__", ()) for rule in inner_rules(inner)]


SINGLE: Final = [place for place, setting in SETTINGS.items() if not setting.example.startswith("[")]


@pytest.mark.parametrize("place", SINGLE, ids=".".join)
def test_every_example_is_allowed(place: tuple[str, ...]) -> None:
    example = tomllib.loads(SETTINGS[place].example)
    an_id = tomllib.loads(SETTINGS["images", "*", "id"].example)["id"]
    values = policy(database=DATABASE, hook={"program": "ask"})
    values["images"] |= {
        f"{name}:v1": {"id": one, "entrypoint": ["x"]} for name, one in [("a", IMAGE_ID), ("b", an_id)]
    }
    section: Any = values
    for name in place[:-1]:
        section = section.setdefault("python:v2" if name == "*" else name, {})
    section.update(example)
    parse_policy(toml(values).encode(), PLACE)


# --- nothing but PolicyProblem ---

NAMES: Final = sorted(
    {name for place in SETTINGS for name in place} - {"*"} | {"python:v2", "x", "", IMAGE_ID}
)
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, 10**400])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "any", "production", "sqlite", "https://git.example/org", "https://[::1", "https://a:b/", "http://127.0.0.1",
            "\0", "../x", "a" * 300, IMAGE_ID, "10.0.0.0/8", "::1%x", "file://x", "https://\u0130.example",
        ]
    )
)  # fmt: skip
TREES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


def as_toml(value: Any) -> str:
    """A tree as an inline value of TOML."""
    if value is None:
        return "1979-05-27"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text_of(name)} = {as_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, float):
        return {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(repr(value), repr(value))
    return json.dumps(value)


def text_of(text: str) -> str:
    """A text of TOML; what JSON writes as two surrogates is one sign there, and DEL has to be escaped."""
    shown = json.dumps(text, ensure_ascii=False)
    return shown.replace("\x7f", "\\u007f")


def must_be_told_or_taken(raw: bytes) -> None:
    told = ""
    try:
        parse_policy(raw, PLACE)
    except PolicyProblem as problem:
        told = str(problem)
    assert not any(word in told for word in FOREIGN)
    assert all(len(line) < 700 for line in told.split("\n")), told


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), TREES, max_size=6))
def test_any_tree_is_told_or_taken(tree: dict[str, Any]) -> None:
    must_be_told_or_taken("".join(f"{text_of(k)} = {as_toml(v)}\n" for k, v in tree.items()).encode())


PLACES: Final = sorted(SETTINGS)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), name=st.sampled_from(NAMES) | st.text(max_size=4), value=TREES)
def test_any_change_of_a_good_policy_is_told_or_taken_whole(
    tmp_path: Path, place: tuple[str, ...], name: str, value: Any
) -> None:
    file = write_site(tmp_path / "site")
    values: Any = policy(database=DATABASE)
    section = values
    for part in place[:-1]:
        section = section.setdefault(name if part == "*" else part, {})
        if not isinstance(section, dict):
            return
    section[name if place[-1] == "*" else place[-1]] = value
    file.write_text("".join(f"{text_of(k)} = {as_toml(v)}\n" for k, v in values.items()), encoding="utf-8")
    must_be_told_or_taken(file.read_bytes())
    try:
        load_site(file)
    except PolicyProblem:
        pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_told_or_taken(raw: bytes) -> None:
    must_be_told_or_taken(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"mode = " + b"[" * 5000,
        b"mode = " + b"{a = " * 5000,
        ".".join(["a"] * 5000).encode() + b" = 1",
        b"mode = " + b"9" * 5000,
        b"mode = 0x" + b"f" * 5000,
        b"mode = 1" + b"0" * 400 + b".5",
        b'mode = "\\ud800"',
        b"[[limits]]\n",
        b"\xef\xbb\xbfmode = 1",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_a_parser_stumbles_over_is_told(raw: bytes) -> None:
    assert "agent.toml" in problem(raw)
