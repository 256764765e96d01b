"""Where a controller may begin, and what its commands ask for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import databases
from tests.fixtures.controller_server import project_arguments
from tests.fixtures.controller_sites import Site

pytestmark = pytest.mark.http


def controller(data: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command in mode production with nothing set but what is given."""
    environment = {"PATH": os.environ["PATH"], **databases.variables(data), **settings}
    return subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", "controller", *arguments, "--data", str(data)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_only_serve_asks_for_the_names_of_the_host(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "This is a new controller." in controller(data, "migrate").stdout
    done = controller(data, *project_arguments("flchain"))
    assert "Project `flchain` is registered." in done.stdout, done.stderr
    done = controller(data, "serve")
    assert done.returncode == 1
    assert done.stderr.startswith("jobrunner: JOBRUNNER_CONTROLLER_HOSTS: list the host names")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_mistyped_folder_makes_no_controller(tmp_path: Path) -> None:
    mistyped, empty, file = tmp_path / "contrller", tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.touch()
    for data, missing in ((mistyped, "folder"), (file, "folder"), (empty, "")):
        done = controller(data, "pause", "north")
        assert done.returncode == 1
        assert f"JOBRUNNER_CONTROLLER_DATA: there is no {missing}" in done.stderr
        assert f"jobrunner controller migrate --data {data}" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not mistyped.exists()
    assert list(empty.iterdir()) == []
    assert "is not a folder" in controller(file, "migrate").stderr


@pytest.mark.slow
def test_an_empty_database_elsewhere_is_no_controller(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert controller(data, "migrate").returncode == 0
    other = tmp_path / "other.sqlite3"
    done = controller(data, "pause", "north", DATABASE_URL=f"sqlite:///{other}")
    assert f"there is no database {other}" in done.stderr
    assert not other.exists()
    other.touch()
    done = controller(data, "pause", "north", DATABASE_URL=f"sqlite:///{other}")
    assert "the database is empty" in done.stderr


def test_an_approval_is_read_from_standard_input_too(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", "controller", "add-approval", "-"],
        env=site.server.environment,
        input="{}",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "This is no approval" in done.stderr


def test_pause_says_what_runs_and_what_waits(site: Site) -> None:
    request = site.ask("other")
    said = site.server.command("pause", site.backend)
    assert "nothing new starts there.\nNothing runs there.\n1 job waits there." in said
    site.server.command("resume", site.backend)
    job = request["jobs"][0]["job_id"]
    site.agent().claim(job)
    said = site.server.command("pause", site.backend)
    assert "1 job still runs there, to the end:\n" in said
    assert f"  {site.project}  other  preparing  request {request['request_id']}\n" in said
    assert "goes on. No jobs wait there." in site.server.command("resume", site.backend)
