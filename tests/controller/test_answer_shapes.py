"""What the researcher's commands read is what the controller's bodies are made of."""

import types
from datetime import datetime
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from jobrunner.cli import answers
from jobrunner.controller.api import researcher_bodies as bodies

pytestmark = pytest.mark.unit


def unlike(shape: Any, kind: Any, where: str) -> list[str]:
    """Places where a body of this kind need not fit the shape."""
    if isinstance(shape, answers.Maybe):
        options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        return [
            line
            for option in options
            if option is not type(None)
            for line in unlike(shape.shape, option, where)
        ]
    if isinstance(shape, list):
        return unlike(shape[0], get_args(kind)[0], f"{where}[]") if get_origin(kind) is list else [where]
    if isinstance(shape, dict):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return [where]
        fields = kind.model_fields
        return [
            line
            for key, inner in shape.items()
            for line in (
                unlike(inner, fields[key].annotation, f"{where}.{key}")
                if key in fields
                else [f"{where}.{key}"]
            )
        ]
    return [] if kind is (datetime if shape is answers.Moment else shape) else [where]


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (answers.CREATED, bodies.CreatedOut),
        (answers.CANCELLED, bodies.CancelOut),
        (answers.REQUEST, bodies.RequestOut),
        (answers.OWN_REQUESTS, bodies.OwnRequestsOut),
        (answers.ERROR, bodies.ErrorOut),
    ],
)
def test_each_key_is_one_of_the_body_and_of_its_kind(shape: Any, body: type[BaseModel]) -> None:
    assert unlike(shape, body, body.__name__) == []


def test_a_key_that_is_not_there_or_may_be_null_is_found() -> None:
    assert unlike({"gone": str}, bodies.JobOut, "job") == ["job.gone"]
    assert unlike({"running_s": int}, bodies.JobOut, "job") == ["job.running_s"]
    assert unlike({"jobs": [{"why": int}]}, bodies.RequestOut, "request") == ["request.jobs[].why"]
