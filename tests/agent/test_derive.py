"""What a job is comes from the commit and the policy alone (P02 and J08, unit part)."""

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.derive import Derived, derive
from jobrunner.agent.outcome import Ended
from jobrunner.agent.policy import ImageSection, Policy
from jobrunner.agent.reusable import FindSource, none_allowed
from jobrunner.study import Limits, PinnedCommit
from jobrunner.study.reusable import ReusableSource
from jobrunner.sync.messages import Offer
from jobrunner.sync.vocabulary import ExitClass
from tests.agent.policies import IMAGE_ID, policy

pytestmark = pytest.mark.unit

PIPELINE = """\
version: "4.0"
actions:
  clean:
    run: python:v2 analysis/clean.py --fast
    outputs:
      highly_sensitive:
        rows: output/rows.csv
  describe:
    run: python:latest python analysis/describe.py "two words"
    needs: [clean]
    config:
      start: 2020-01-01
      name: "it's"
    outputs:
      moderately_sensitive:
        table: output/table-*.csv
        figure: output/figures/one.png
  fit:
    run: r:v2 analysis/fit.R
    needs: [clean]
    outputs:
      moderately_sensitive:
        model: output/model.txt
  extract:
    run: ehrql:v1 generate-dataset analysis/dataset.py --output output/dataset.csv
    outputs:
      highly_sensitive:
        cohort: output/dataset.csv
  borrow:
    run: kaplan-meier-function:v0.1.0 --input output/rows.csv
    needs: [clean]
    outputs:
      moderately_sensitive:
        curve: output/curve.csv
"""

OTHER_ID = "sha256:" + "2" * 64
NONE_ALLOWED = partial(none_allowed, "request")


def section(image_id: str, *entrypoint: str) -> dict[str, Any]:
    return {"id": image_id, "entrypoint": tuple(entrypoint or ("run-action",))}


def made(*, database: dict[str, Any] | None = None, **images: dict[str, Any]) -> Policy:
    values = policy()
    if database is not None:
        values["database"] = {"dataset": "flchain", "kind": "sqlite", "file": "db.sqlite"} | database
    values["git"] = {"allowed": ("https://git.example/org",)}
    named = {"python:v1": section(OTHER_ID), "python:v2": section(IMAGE_ID, "run-action", "python3")}
    values["images"] = named | images
    return Policy.model_validate(values)


def derived(action: str, text: str = PIPELINE, **images: dict[str, Any]) -> Derived:
    return derive(text.encode(), action, made(**images), NONE_ALLOWED)


def refusal(action: str, text: str | bytes = PIPELINE, **images: dict[str, Any]) -> tuple[str, str]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(Ended) as caught:
        derive(data, action, made(**images), NONE_ALLOWED)
    outcome = caught.value.outcome
    assert outcome.exit_class is ExitClass.REFUSED
    assert outcome.message
    return outcome.reason.value, outcome.detail


def test_an_action_is_what_the_file_says() -> None:
    found = derived("clean")
    assert found == Derived(
        image="python:v2",
        image_section=ImageSection(id=IMAGE_ID, entrypoint=("run-action", "python3")),
        argv=("analysis/clean.py", "--fast"),
        needs=(),
        patterns=(("output/rows.csv", "highly_sensitive"),),
        actions=("clean", "describe", "fit", "extract", "borrow"),
    )


def test_config_comes_last_as_one_word_of_json() -> None:
    found = derived("describe")
    *words, option, config = found.argv
    assert words == ["python", "analysis/describe.py", "two words"]
    assert option == "--config"
    assert json.loads(config)["name"] == "it's"
    assert "'" not in config
    assert found.needs == ("clean",)
    assert found.patterns == (
        ("output/table-*.csv", "moderately_sensitive"),
        ("output/figures/one.png", "moderately_sensitive"),
    )


def test_latest_means_v1_and_never_a_newer_one() -> None:
    found = derived("describe")
    assert (found.image, found.image_section.id) == ("python:v1", OTHER_ID)
    only_v2 = made()
    values = only_v2.model_copy(update={"images": {"python:v2": only_v2.images["python:v2"]}})
    with pytest.raises(Ended) as caught:
        derive(PIPELINE.encode(), "describe", values, NONE_ALLOWED)
    assert caught.value.outcome.reason.value == "image_not_allowed"


@pytest.mark.parametrize(
    "action", ["", "Clean", "clean ", "nothing", "../clean", "clean\0", "a" * 200, "run_all"]
)
def test_an_action_that_the_commit_does_not_have(action: str) -> None:
    assert refusal(action) == ("action_unknown", "")


def test_an_image_that_the_site_does_not_name() -> None:
    assert refusal("fit") == ("image_not_allowed", "name")
    assert derived("fit", **{"r:v2": section(OTHER_ID)}).image_section.id == OTHER_ID


@pytest.mark.parametrize("image", ["python:v3", "python:v2.0", "python:v22", "python:dev"])
def test_I05_a_version_that_the_site_does_not_name(image: str) -> None:
    text = PIPELINE.replace("python:v2", image)
    assert refusal("clean", text) == ("image_not_allowed", "name")


@pytest.mark.parametrize(
    "image",
    [
        "Python:v2",
        "python:v2@sha256:" + "0" * 64,
        "python:v2-evil",
        "registry.example/python:v2",
        "basics-evil:v2",
        "p\u0443thon:v2",
        "python\u200b:v2",
    ],
)
def test_I05_a_name_that_only_looks_like_an_allowed_one(image: str) -> None:
    reason, _detail = refusal("clean", PIPELINE.replace("python:v2", image))
    assert reason in ("image_not_allowed", "pipeline_invalid")


EHRQL = {"ehrql:v1": section(OTHER_ID)}
SQL = """\
version: "4.0"
actions:
  rows:
    run: sqlrunner:v1 {words}
    config: {config}
    outputs:
      highly_sensitive:
        rows: output/rows.csv
"""


def given(words: str, allowed: Any, *, action: str = "extract", text: str = PIPELINE) -> str | None:
    """The dataset of an action of the image that the policy gives the database for `allowed`."""
    images = EHRQL | {"sqlrunner:v1": section(OTHER_ID)}
    database = {"images": {OTHER_ID: allowed}}
    policy = made(database=database, **images)
    return derive(text.replace("generate-dataset", words).encode(), action, policy, NONE_ALLOWED).dataset


def refused_for(words: str, allowed: Any, **more: str) -> tuple[str, str]:
    with pytest.raises(Ended) as caught:
        given(words, allowed, **more)
    outcome = caught.value.outcome
    assert outcome.exit_class is ExitClass.REFUSED
    assert outcome.message
    return outcome.reason.value, outcome.detail


def test_a_database_action_at_a_site_without_a_database() -> None:
    assert refusal("extract", **EHRQL) == ("database_not_allowed", "image")


def test_a_database_action_of_an_image_that_may_not_have_it() -> None:
    database = {"images": {IMAGE_ID: "any"}}
    with pytest.raises(Ended) as caught:
        derive(PIPELINE.encode(), "extract", made(database=database, **EHRQL), NONE_ALLOWED)
    assert (caught.value.outcome.reason.value, caught.value.outcome.detail) == (
        "database_not_allowed",
        "image",
    )


@pytest.mark.parametrize("allowed", ["any", ("generate-measures", "generate-dataset")])
def test_a_database_action_of_an_allowed_image_gets_the_dataset(allowed: Any) -> None:
    assert given("generate-dataset", allowed) == "flchain"


@pytest.mark.parametrize(
    "allowed", [("generate-measures",), ("generate",), ("generate-dataset-x",), ("*",), ("",)]
)
def test_a_first_argument_that_the_site_does_not_name(allowed: Any) -> None:
    assert refused_for("generate-dataset", allowed) == ("database_not_allowed", "argument")


def test_only_the_first_argument_counts() -> None:
    assert refused_for("generate-measures generate-dataset", ("generate-dataset",))[1] == "argument"


@pytest.mark.parametrize(("words", "config"), [("", "{}"), ("", "{a: 1}"), ("rows.sql", "{}")])
def test_sqlrunner_is_a_database_action_with_anything_or_nothing(words: str, config: str) -> None:
    text = SQL.format(words=words, config=config)
    assert given("", "any", action="rows", text=text) == "flchain"
    refused = refused_for("", ("--config", "other.sql"), action="rows", text=text)
    assert refused == ("database_not_allowed", "argument")


@pytest.mark.parametrize("words", ["assure", "Generate-dataset", "generate_dataset", "--x generate-dataset"])
def test_what_is_no_database_action_gets_none_from_an_allowed_image(words: str) -> None:
    assert given(words, "any") is None


def test_the_same_image_under_another_name_gets_none() -> None:
    database = {"images": {IMAGE_ID: "any"}}
    assert derive(PIPELINE.encode(), "clean", made(database=database), NONE_ALLOWED).dataset is None


def test_a_site_that_allows_no_reusable_actions_refuses_even_one_that_its_policy_names_as_an_image() -> None:
    assert refusal("borrow") == ("image_not_allowed", "name")
    named = {"kaplan-meier-function:v0.1.0": section(OTHER_ID)}
    assert refusal("borrow", **named) == ("image_not_allowed", "name")


def borrowed(action_file: bytes | None, **images: dict[str, Any]) -> Derived:
    """The action `borrow` with this action.yaml behind it."""
    url = "https://git.example/actions/kaplan-meier-function"
    commit = PinnedCommit(url, "main", "a" * 40, "b" * 40, Path("nowhere"), Limits())
    source = ReusableSource(commit, "v0.1.0", action_file)
    return derive(PIPELINE.encode(), "borrow", made(**images), lambda _: source)


def refused_borrowing(action_file: bytes | None, **images: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Ended) as caught:
        borrowed(action_file, **images)
    return caught.value.outcome.reason.value, caught.value.outcome.detail


def test_a_reusable_action_has_image_and_first_words_of_its_own_and_the_rest_of_the_study() -> None:
    found = borrowed(b"run: python:latest python km.py")
    assert (found.image, found.image_section.id) == ("python:v1", OTHER_ID)
    assert found.argv == ("python", "km.py", "--input", "output/rows.csv")
    assert (found.needs, found.patterns) == (("clean",), (("output/curve.csv", "moderately_sensitive"),))
    assert found.source is not None
    assert found.source.commit.commit == "a" * 40
    assert found.dataset is None
    assert derived("clean").source is None


def test_an_image_that_policy_gives_a_reusable_action_by_name_is_not_used() -> None:
    named = {"kaplan-meier-function:v0.1.0": section("sha256:" + "9" * 64)}
    assert borrowed(b"run: python:v2 km.py", **named).image_section.id == IMAGE_ID


@pytest.mark.parametrize(
    ("action_file", "refused"),
    [
        (None, ("pipeline_invalid", "RA006")),
        (b"run: [", ("pipeline_invalid", "RA007")),
        (b"run: python", ("pipeline_invalid", "RA008")),
        (b"run: kaplan-meier-function:v0.1.0", ("pipeline_invalid", "RA009")),
        (b"run: sqlrunner:v1 all.sql", ("pipeline_invalid", "RA010")),
        (b"run: ehrql:v1 generate-dataset a.py", ("pipeline_invalid", "RA010")),
        (b"run: stata-mp:v9 a.do", ("image_not_allowed", "name")),
        (b"run: python:v2 " + b"word " * 300_000, ("pipeline_invalid", "PS036")),
    ],
)
def test_a_reusable_action_that_this_site_does_not_start(
    action_file: bytes | None, refused: tuple[str, str]
) -> None:
    assert refused_borrowing(action_file) == refused


def test_a_reusable_action_gets_no_database_even_from_an_image_that_may_have_it() -> None:
    database = {"images": {IMAGE_ID: "any"}}
    assert borrowed(b"run: python:v2 km.py", database=database).dataset is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (PIPELINE.replace("output/rows.csv", "../rows.csv", 1), "PS040"),
        (PIPELINE.replace("output/rows.csv", "/etc/passwd", 1), "PY046"),
        (PIPELINE.replace("needs: [clean]", "needs: [gone]", 1), "PY037"),
        (PIPELINE + "  clean:\n    run: python:v2 evil.py\n", "PY003"),
        (b"\xff\xfe\x00", "PS005"),
        ("", "PS007"),
    ],
)
def test_a_file_with_a_problem_is_refused_by_the_id_of_its_rule(text: str | bytes, rule: str) -> None:
    assert refusal("clean", text) == ("pipeline_invalid", rule)


def test_a_config_that_no_kernel_would_take_as_one_word() -> None:
    long = PIPELINE.replace("it's", "x" * (121 * 1024))
    reason, detail = refusal("describe", long)
    assert (reason, detail[:2]) == ("pipeline_invalid", "PS")


def test_only_the_id_of_the_action_is_taken_from_outside() -> None:
    # No offer, approval or message can be handed in: there is no parameter for one.
    assert list(inspect.signature(derive).parameters) == [
        "pipeline_file",
        "action_id",
        "policy",
        "find_source",
    ]
    assert list(inspect.signature(FindSource.__call__).parameters) == ["self", "request_id", "action", "stop"]
    shared = set(Offer.model_fields) & set(Derived.__dataclass_fields__)
    assert shared == set()


def test_J08_two_readers_do_not_matter_where_one_alone_counts() -> None:
    # A text that a lenient reader takes otherwise: the second `run` would win there.
    twice = PIPELINE.replace(
        "    run: python:v2 analysis/clean.py --fast\n",
        "    run: python:v2 analysis/clean.py --fast\n    run: python:v2 analysis/evil.py\n",
    )
    assert refusal("clean", twice)[0] == "pipeline_invalid"
