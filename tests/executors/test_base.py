"""The values of the contract refuse what could not be put safely into a name, path or mount option."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.executors.base import GIB, ActionRun, Limits

pytestmark = pytest.mark.unit

RUN = ActionRun(
    agent_id="site-1",
    job_id="abcdefghijklmnopqrstuvwxyz",
    attempt=1,
    image_id=f"sha256:{'a' * 64}",
    entrypoint=("/usr/local/bin/run-action", "python3"),
    argv=("analysis/a.py",),
    uid=200_000,
    gid=200_000,
    tree=Path("/srv/trees/abc"),
)


def test_name_and_labels_carry_the_attempt() -> None:
    assert RUN.name == "jr-abcdefghijklmnopqrstuvwxyz-1"
    assert RUN.labels == {
        "jobrunner.agent": "site-1",
        "jobrunner.job": "abcdefghijklmnopqrstuvwxyz",
        "jobrunner.attempt": "1",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", "a,b"),
        ("agent_id", ""),
        ("job_id", "../../../../../../../../../"),
        ("job_id", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("job_id", "abcdefghijklmnopqrstuvwxyz\n"),
        ("attempt", 0),
        ("attempt", 100),
        ("image_id", "python:v2"),
        ("image_id", f"x@sha256:{'a' * 64}"),
        ("argv", ("a\0b",)),
        ("environment", {"A=B": "1"}),
        ("environment", {"": "1"}),
        ("environment", {"A": "\0"}),
        ("folders", ("../out",)),
        ("folders", ("/out",)),
        ("folders", ("out//x",)),
        ("folders", ("",)),
        ("tree", Path("relative")),
        ("tree", Path("/srv/a:b")),
        ("tree", Path("/srv/a,upperdir=b")),
        ("tree", Path("/srv/../etc")),
        ("inputs", Path("/srv/a b")),
    ],
)
def test_a_bad_field_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError):
        replace(RUN, **{field: value})


def test_a_run_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to run"):
        replace(RUN, entrypoint=(), argv=())


@pytest.mark.parametrize("limit", [limit.name for limit in fields(Limits)])
def test_no_limit_can_be_switched_off(limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: 0})


def test_the_limits_are_those_of_the_specification() -> None:
    limits = Limits()
    assert (limits.pids, limits.memory, limits.nano_cpus) == (512, 8 * GIB, 2_000_000_000)
    assert (limits.disk, limits.inodes, limits.wall_clock_s) == (20 * GIB, 1_000_000, 86_400)
    assert limits.threads == "2"


@given(st.text(max_size=30))
def test_an_accepted_folder_stays_inside(folder: str) -> None:
    try:
        run = replace(RUN, folders=(folder,))
    except ValueError:
        return
    parts = Path("/upper", *run.folders).parts
    assert parts[:2] == ("/", "upper")
    assert ".." not in parts
    assert len(parts) > 2
