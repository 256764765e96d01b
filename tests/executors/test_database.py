"""The database of a run as data: its URL, its mount, and that no other run has either."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import PROFILE
from jobrunner.executors.database import Database
from jobrunner.executors.engine_call import create_body, differences, environment
from tests.executors.test_base import RUN

pytestmark = pytest.mark.unit

WORKSPACE = Path("/srv/work/workspace")
FILE = Path("/var/lib/jobrunner/work/attempts/jr-a-1/database/seen/database")
WITH = replace(RUN, database=Database("sqlite", Path("/srv/secret/flchain.sqlite")))
IMAGE: dict[str, Any] = {"Env": ["DATABASE_URL=postgres://from-the-image"]}


def mounts(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body["HostConfig"]["Mounts"]
    return found


@pytest.mark.parametrize(
    ("kind", "url"),
    [("sqlite", "sqlite:////jobrunner/database"), ("duckdb", "duckdb:////jobrunner/database")],
)
def test_the_url_names_kind_and_place(kind: Any, url: str) -> None:
    run = replace(RUN, database=Database(kind, Path("/srv/x")))
    assert f"DATABASE_URL={url}" in environment(PROFILE, run, IMAGE)


def test_a_run_without_a_database_gets_neither_variable_nor_mount() -> None:
    body = create_body(PROFILE, RUN, IMAGE, WORKSPACE, FILE)
    assert "DATABASE_URL" in body["Env"]  # bare: what the image sets is unset
    assert not any(entry.startswith("DATABASE_URL=") for entry in body["Env"])
    assert [mount["Target"] for mount in mounts(body)] == ["/workspace"]


def test_the_mount_is_read_only_and_of_the_view_alone() -> None:
    body = create_body(PROFILE, WITH, IMAGE, WORKSPACE, FILE)
    assert mounts(body)[1:] == [
        {
            "Type": "bind",
            "Source": str(FILE),
            "Target": "/jobrunner/database",
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate"},
        }
    ]
    assert "secret" not in str(body)


def test_the_body_of_one_run_is_not_that_of_the_next() -> None:
    create_body(PROFILE, WITH, IMAGE, WORKSPACE, FILE)
    assert len(mounts(create_body(PROFILE, RUN, IMAGE, WORKSPACE, FILE))) == 1


@pytest.mark.parametrize(("kind", "path"), [("postgresql", "/srv/x"), ("", "/srv/x"), ("sqlite", "x.db")])
def test_another_kind_or_a_relative_path_is_refused(kind: Any, path: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Database(kind, Path(path))


def test_policy_cannot_set_the_variable_for_a_run() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        replace(WITH, environment={"DATABASE_URL": "sqlite:////other"})


def answer(run: Any = WITH) -> tuple[dict[str, Any], dict[str, Any]]:
    """The create call, and what Docker 20.10 says of the container."""
    body = create_body(PROFILE, run, IMAGE, WORKSPACE, FILE)
    host = copy.deepcopy(body["HostConfig"])
    host |= {"ReadonlyPaths": sorted(PROFILE.readonly_paths)}
    seen = {
        "Name": f"/{RUN.name}",
        "Image": RUN.image_id,
        "Config": {key: value for key, value in copy.deepcopy(body).items() if key != "HostConfig"},
        "HostConfig": host,
        "Mounts": [
            {"Type": "bind", "Source": str(FILE), "Destination": "/jobrunner/database", "Mode": "",
             "RW": False, "Propagation": "rprivate"},
            {"Type": "bind", "Source": str(WORKSPACE), "Destination": "/workspace", "Mode": "",
             "RW": True, "Propagation": "rprivate"},
        ],
    }  # fmt: skip
    return body, seen


def compare(body: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    return differences(PROFILE, body, seen, IMAGE, RUN.name)


def test_an_honest_answer_in_any_order_has_no_difference() -> None:
    body, seen = answer()
    assert compare(body, seen) == []
    seen["Mounts"].reverse()
    assert compare(body, seen) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("RW", True),
        ("Source", "/srv/secret/flchain.sqlite"),
        ("Source", "/"),
        ("Propagation", "rshared"),
        ("Destination", "/jobrunner"),
        ("Type", "volume"),
        ("Type", None),
    ],
)
def test_another_mount_is_seen(key: str, value: Any) -> None:
    body, seen = answer()
    seen["Mounts"][0][key] = value
    assert len(compare(body, seen)) == 1


def test_a_mount_that_the_engine_forgot_or_made_writable_is_seen() -> None:
    body, seen = answer()
    del seen["Mounts"][0]
    assert len(compare(body, seen)) == 1
    body, seen = answer()
    del seen["HostConfig"]["Mounts"][1]["ReadOnly"]
    assert len(compare(body, seen)) == 1


def test_another_url_is_seen() -> None:
    body, seen = answer()
    seen["Config"]["Env"] = [entry.replace("sqlite:", "duckdb:") for entry in seen["Config"]["Env"]]
    assert len(compare(body, seen)) == 1


def test_a_database_that_nobody_asked_for_is_seen() -> None:
    body, _ = answer(RUN)
    _, seen = answer(WITH)
    assert len(compare(body, seen)) == 3  # variable, mount asked, mount made
