"""The JSON Schema of the format: it takes what a check takes, and refuses what a schema can tell."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.pipeline import LEVELS, load
from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.nodes import Plainer
from jobrunner.pipeline.rules_outputs import pattern_faults
from jobrunner.pipeline.schema import json_schema
from tests.pipeline.examples import build
from tests.pipeline.rule_rows import ROWS, Row
from tests.pipeline.test_corpus import CORPUS
from tests.pipeline.test_semantics import VALID

pytestmark = pytest.mark.unit

#: Rules that a schema can tell, for the wrong forms of the rule table.
TOLD = {
    "PY010", "PY011", "PY012", "PY014", "PY015", "PY016", "PY017", "PY018", "PY019", "PY020",
    "PY030", "PY032", "PY033", "PY034", "PY035", "PY036", "PY040", "PY041", "PY042", "PY043",
    "PY044", "PY045", "PY046", "PY047", "PY048", "PY049", "PY050", "PY060", "PY061", "PY062",
    "PS007", "PS008", "PS010", "PS011", "PS012", "PS020", "PS021", "PS031", "PS032", "PS040",
    "PS041", "PS043",
}  # fmt: skip

#: A schema counts characters, so not a path that is too long in bytes only.
TOLD_ROWS = [row for row in ROWS if row.rule in TOLD and "é" not in row.wrong[0][1]]

VALIDATOR = jsonschema_rs.Draft202012Validator(json_schema())


def data_of(text: bytes) -> Any:
    root, _ = read_tree(text)
    assert root is not None
    return Plainer().value(root)


def test_it_is_a_schema_in_json() -> None:
    schema = json_schema()

    jsonschema_rs.meta.validate(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_whole_valid_file_fits() -> None:
    VALIDATOR.validate(data_of(VALID.encode()))


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}-{row.rule}" for number, row in enumerate(ROWS)])
def test_right_form_of_each_rule_fits(row: Row) -> None:
    VALIDATOR.validate(data_of(build(*row.right)))


@pytest.mark.parametrize("row", TOLD_ROWS, ids=lambda row: f"{row.rule}-{row.reported}")
def test_wrong_form_of_what_a_schema_can_tell_does_not_fit(row: Row) -> None:
    assert not VALIDATOR.is_valid(data_of(build(*row.wrong)))


@pytest.mark.parametrize("version", ["6", "0", "'six'", "true", ".inf"])
def test_other_versions_do_not_fit(version: str) -> None:
    text = f"version: {version}\nactions: {{}}\n".encode()

    assert not load(text).valid
    assert not VALIDATOR.is_valid(data_of(text))


PIECES = st.sampled_from([*"a./*? é\n", "..", ".csv", "metadata", "Metadata/", "\\", "C:"])


@given(st.lists(PIECES, max_size=8).map("".join), st.sampled_from(LEVELS))
def test_a_path_fits_if_and_only_if_the_rules_take_it(path: str, level: str) -> None:
    faults = pattern_faults(path, level == "moderately_sensitive")
    document = {"version": 5, "actions": {"a": {"run": "r:v2 a", "outputs": {level: {"x": path}}}}}

    assert VALIDATOR.is_valid(document) == (not faults)


def test_every_part_that_a_person_writes_is_described() -> None:
    schema = json_schema()
    action = schema["$defs"]["action"]

    for part in (*schema["properties"].values(), *action["properties"].values(), *schema["$defs"].values()):
        assert re.search(r"\.$", part["description"])


@pytest.mark.slow
def test_valid_real_files_fit() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus of real files is not beside this tree")
    assert_all_fit(CORPUS)


def assert_all_fit(corpus: Path) -> None:
    for path in sorted(corpus.glob("*.yaml")):
        data = path.read_bytes()
        if load(data).valid:
            VALIDATOR.validate(data_of(data))
