"""The steps of the database, forward and back, with rows where it matters."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.fixtures import databases

pytestmark = [pytest.mark.http, pytest.mark.slow, pytest.mark.django_db]


def run(data: Path, what: str) -> dict[str, Any]:
    """What migrating.py saw, with an empty database of its own."""
    data.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.controller.migrating", what],
        cwd=Path(__file__).parents[2],
        env={
            "DJANGO_SETTINGS_MODULE": "jobrunner.controller.settings",
            "JOBRUNNER_CONTROLLER_MODE": "test",
            "JOBRUNNER_CONTROLLER_DATA": str(data),
            **databases.variables(data),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_old_requests_get_the_state_of_their_jobs_and_the_step_can_be_taken_back(tmp_path: Path) -> None:
    found = run(tmp_path / "data", "old_requests")
    assert found["first"] == found["again"]
    assert found["first"] == [
        ["running", None],
        ["pending", None],
        ["failed", 2],
        ["refused", 2],
        ["cancelled", 1],
        ["succeeded", 2],
    ]
    assert found["jobs"] == 17
    assert all(found["refused"]), "the record is protected before, after and between"


def test_all_the_way_back_and_forward_again(tmp_path: Path) -> None:
    found = run(tmp_path / "data", "all_the_way")
    assert found["left"] == []
    assert all(found["refused"])


def test_no_step_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
