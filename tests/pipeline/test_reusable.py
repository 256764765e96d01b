"""Reusable actions: image and words of `action.yaml`, then the study's words; refusals by id."""

import pytest

from jobrunner.pipeline import Action
from jobrunner.pipeline.reusable import ReusableActionProblem, apply, is_reusable

pytestmark = pytest.mark.unit

URL = "https://github.com/opensafely-actions/foo"


def study_action(image: str = "foo", argv: tuple[str, ...] = ("--in", "a b")) -> Action:
    return Action("model", image, "v9", argv, (), {"highly_sensitive": {"a": "a.csv"}}, {"x": 1}, False)


def test_words_of_both_in_turn() -> None:
    made = apply(study_action(), b"run: python:latest python 'main file.py'\nother: 1\n", URL)

    assert (made.image, made.image_version) == ("python", "latest")
    assert made.command() == ("python", "main file.py", "--in", "a b", "--config", '{"x": 1}')


@pytest.mark.parametrize(
    ("image", "reusable"), [("foo", True), ("python", False), ("cohortextractor", False)]
)
def test_is_reusable(image: str, reusable: bool) -> None:
    assert is_reusable(study_action(image)) is reusable


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (None, "RA006"),
        (b"run: [", "RA007"),
        (b"[1]", "RA007"),
        (b"", "RA007"),
        (b"run: r:v1\nrun: r:v2\n", "RA007"),
        (b"\xff", "RA007"),
        (b"name: x", "RA008"),
        (b"run: 1", "RA008"),
        (b"run: ' '", "RA008"),
        (b"run: ''", "RA008"),
        (b'run: "python:v2 \'a"', "RA008"),
        (b"run: python a", "RA008"),
        (b"run: bar:v2 a", "RA009"),
        (b"run: cohortextractor:v2 a", "RA009"),
        (b"run: sqlrunner:v1 a.sql", "RA010"),
        (b"run: ehrql:v1 generate-dataset", "RA010"),
    ],
)
def test_refusals(data: bytes | None, rule: str) -> None:
    with pytest.raises(ReusableActionProblem) as caught:
        apply(study_action(), data, URL)

    assert caught.value.id == rule
    assert caught.value.message.startswith("Action `model` uses `foo:v9`: ")


def test_the_study_cannot_complete_a_database_command() -> None:
    with pytest.raises(ReusableActionProblem) as caught:
        apply(study_action(argv=("generate-dataset", "d.py")), b"run: ehrql:v1", URL)

    assert caught.value.id == "RA010"


@pytest.mark.parametrize("name", ["fo+o", "../foo", "foo/bar", "", "-foo", "f" * 101])
def test_a_name_that_is_no_repository(name: str) -> None:
    with pytest.raises(ReusableActionProblem) as caught:
        apply(study_action(name), b"run: python:v2 a", URL)

    assert caught.value.id == "RA001"
