"""The commands of operators and researchers, as processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import databases
from tests.fixtures.controller_sites import Site
from tests.fixtures.git_fixtures import run_git

pytestmark = pytest.mark.http


def jobrunner(
    site: Site, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a researcher's command in a folder."""
    variables = {"JOBRUNNER_URL": site.server.url, "JOBRUNNER_TOKEN": site.token, "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", *arguments],
        cwd=folder,
        env=os.environ | variables | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def named(site: Site) -> list[str]:
    return ["--project", site.project, "--backend", site.backend]


@pytest.fixture
def checkout(site: Site, tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    run_git(tmp_path, "clone", "--quiet", site.repo, str(folder))
    return folder


@pytest.mark.slow
def test_a_checkout_says_repository_branch_and_commit(site: Site, checkout: Path) -> None:
    done = jobrunner(site, checkout, "request", "other", *named(site))
    assert done.returncode == 0, done.stderr
    request = done.stdout.split("Request ")[1].split(":")[0]
    assert site.look(request) == {"other": ("pending", "waiting_for_agent")}
    shown = jobrunner(site, checkout, "status", request)
    assert "waiting for agent" in shown.stdout
    stopped = jobrunner(site, checkout, "cancel", request)
    follow = f"Everyone can follow it at {site.server.url}/jobs/{request}"
    assert stopped.stdout.splitlines() == ["1 job is cancelled or will stop.", follow]
    watched = jobrunner(site, checkout, "status", request, "--watch")
    assert watched.returncode == 1
    assert watched.stdout.strip() == "other: cancelled (by requester) - It was cancelled by the project."


def test_watching_ends_well_when_all_succeeded(site: Site, checkout: Path) -> None:
    request = site.ask("other")
    site.agent().run(request["jobs"][0]["job_id"])
    done = jobrunner(site, checkout, "status", request["request_id"], "--watch")
    assert (done.returncode, done.stdout.split(" - ")[0]) == (0, "other: succeeded (completed)")


@pytest.mark.slow
def test_what_is_wrong_is_said_in_sentences(site: Site, checkout: Path, tmp_path: Path) -> None:
    done = jobrunner(site, checkout, "request", "modl", *named(site))
    assert done.returncode == 1
    assert done.stderr.startswith("RQ004: There is no action `modl`.")
    for folder, arguments, environment, sentence in [
        (checkout, ["status", "x"], {"JOBRUNNER_TOKEN": "jrp_x"}, "token is missing, unknown or has ended"),
        (checkout, ["status", "x"], {"JOBRUNNER_TOKEN": ""}, "No token."),
        (checkout, ["status", "x"], {"JOBRUNNER_TOKEN": "Token:\njrp_x\nNext"}, "The token is not one word"),
        (checkout, ["status", "x"], {"JOBRUNNER_URL": "http://example.org"}, "not an https address"),
        (checkout, ["status", "x"], {"JOBRUNNER_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (checkout, ["status", "../x"], {}, "is not the id of a request"),
        (tmp_path, ["request", "other", *named(site)], {}, "No git checkout"),
    ]:
        done = jobrunner(site, folder, *arguments, **environment)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_a_netrc_file_does_not_replace_the_token(site: Site, checkout: Path) -> None:
    request = site.ask("other")["request_id"]
    netrc = checkout / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    assert jobrunner(site, checkout, "status", request).returncode == 0


@pytest.mark.slow
def test_a_command_that_cannot_do_it_says_why(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "approval.json"
    file.write_text("{}")
    texts = ["--title", "a", "--purpose", "b", "--legal-basis", "c"]
    key = "ed25519:" + "A" * 43 + "="
    cases = [
        (["create-project", site.project, *texts], "--update"),
        (["create-project", "Bad_Slug", *texts], "is named with 1 to 40"),
        (["create-backend", site.backend, "--public-key", key], "exists already"),
        (["create-backend", "new", "--public-key", "rubbish"], "begins with `ed25519:`"),
        (["create-token", "ada", "--project", "nowhere"], "There is no project `nowhere`"),
        (["add-approval", "/nonexistent"], "cannot be read"),
        (["add-approval", str(file)], "This is no approval"),
        (["pause", "nowhere"], "There is no backend `nowhere`"),
    ]
    outcomes = site.server.outcomes([arguments for arguments, _ in cases])
    for (arguments, sentence), (status, said) in zip(cases, outcomes, strict=True):
        assert status == 1, arguments
        assert sentence in said


def test_a_project_is_changed_with_update(site: Site) -> None:
    texts = ["--title", "New title", "--purpose", "b", "--legal-basis", "c"]
    assert "is changed" in site.server.command("create-project", site.project, *texts, "--update")
    ((title,),) = site.server.query("SELECT title FROM projects_project WHERE slug = ?", site.project)
    assert title == "New title"


@pytest.mark.slow
def test_serve_refuses_an_unsafe_setting_and_an_old_database(tmp_path: Path, site: Site) -> None:
    environment = site.server.environment | {
        "JOBRUNNER_CONTROLLER_DATA": str(tmp_path / "data"),
        "JOBRUNNER_CONTROLLER_MODE": "production",
        **databases.variables(tmp_path / "data"),
    }
    program = [sys.executable, "-m", "jobrunner.cli.main", "controller"]
    done = subprocess.run(
        [*program, "serve"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert "JOBRUNNER_CONTROLLER_GIT_PREFIXES: http://127.0.0.1" in done.stderr
    environment["JOBRUNNER_CONTROLLER_MODE"] = "test"
    done = subprocess.run([*program, "migrate"], env=environment, capture_output=True, text=True, check=True)
    assert "steps made" in done.stdout
    databases.query(
        tmp_path / "data",
        "DELETE FROM django_migrations WHERE app = 'jobs' AND name ="
        " (SELECT max(name) FROM django_migrations WHERE app = 'jobs')",
    )
    done = subprocess.run(
        [*program, "serve"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert "run: jobrunner controller migrate" in done.stderr
