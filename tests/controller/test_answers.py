"""What a request is answered when earlier runs serve, when it waits already, and the list of one's own."""

import time
from pathlib import Path

import pytest

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.controller.test_commands import jobrunner, named
from tests.fixtures.controller_sites import CHAIN, Site

pytestmark = [pytest.mark.http, pytest.mark.slow]


def run_all(site: Site) -> str:
    """Everything succeeds at the site's commit; returns the id of the request."""
    agent, request = site.agent(), site.ask("run_all")
    for job in request["jobs"]:
        agent.run(job["job_id"])
    return str(request["request_id"])


def newer_commit(site: Site) -> dict[str, str]:
    """The words of a request for another commit of the branch."""
    site.study.switch("main", start=site.commit)
    commit = site.study.commit({"project.yaml": CHAIN, "count.py": f"# {time.time_ns()}\n"}, push=False)
    site.study.push(force=True)
    return {"commit": commit}


def test_nothing_to_do_names_each_run_that_serves_and_its_commit(site: Site) -> None:
    first = run_all(site)
    answer = site.call("POST", "requests", json=site.body("run_all")).json()
    assert answer["request"] is None
    assert answer["already"] == []
    assert answer["message"] == (
        "Nothing was started: every action has already succeeded here. `--force` runs them again."
    )
    assert [run["action"] for run in answer["reused"]] == ["extract", "count", "chart", "other"]
    for run in answer["reused"]:
        assert (run["request_id"], run["commit"], run["same_commit"]) == (first, site.commit, True)
        assert run["page"] == f"/jobs/{first}"
        assert run["failed_since"] is None


def test_after_a_new_commit_the_terminal_says_that_older_runs_serve_and_how_to_run(
    site: Site, tmp_path: Path
) -> None:
    first = run_all(site)
    asked = newer_commit(site)
    words = [*named(site), "--repo", site.repo, "--branch", "main", "--commit", asked["commit"]]
    done = jobrunner(site, tmp_path, "request", "run_all", *words)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head == (
        "Nothing was started: every action has already succeeded here. `--force` runs them again. "
        "All 4 reused runs are older and of another commit; "
        "`--force` (or naming actions) runs them at this commit."
    )
    assert len(lines) == 4
    for line in lines:
        assert f"at commit {site.commit[:12]}, not the commit asked for (request {first})" in line

    agent = site.agent()
    named_one = site.ask("count", **asked)
    job = next(job for job in named_one["jobs"] if job["action"] == "count")["job_id"]
    agent.end(job, agent.claim(job), Reason.OUT_OF_TIME, ExitClass.FAILED)
    again = site.call("POST", "requests", json=site.body("run_all", **asked)).json()
    failure = next(run for run in again["reused"] if run["action"] == "count")["failed_since"]
    assert (failure["request_id"], failure["commit"]) == (named_one["request_id"], asked["commit"])
    done = jobrunner(site, tmp_path, "request", "run_all", *words)
    assert f"at commit {asked['commit'][:12]} (out of time, request {named_one['request_id']})" in done.stdout

    forced = jobrunner(site, tmp_path, "request", "run_all", "--force", *words)
    assert forced.stdout.startswith("Asked for.\n")
    assert ": 4 pending" in forced.stdout


def test_a_stored_request_tells_what_older_runs_serve_for(site: Site, tmp_path: Path) -> None:
    run_all(site)
    asked = newer_commit(site)
    answer = site.call("POST", "requests", json=site.body("chart", **asked)).json()
    assert answer["message"] == (
        "Asked for. The run that is reused is older and of another commit; "
        "`--force` (or naming the action) runs it at this commit."
    )
    assert [(run["action"], run["same_commit"]) for run in answer["reused"]] == [("count", False)]
    assert answer["request"]["summary"] == "1 pending, 1 reused"
    assert answer["request"]["counts"] == {"pending": 1, "reused": 1}


def test_what_waits_already_is_told_with_its_request_and_where_to_follow_it(
    site: Site, tmp_path: Path
) -> None:
    first = site.ask("count")
    identity = first["request_id"]
    answer = site.call("POST", "requests", json=site.body("count")).json()
    assert answer["request"] is None
    assert answer["message"] == (
        "Every action asked for is already waiting or running in this workspace. "
        f"Look at request {identity} for `count`."
    )
    (one,) = answer["already"]
    assert one == {
        "action": "count",
        "state": "pending",
        "request_id": identity,
        "asked_by": site.person,
        "commit": site.commit,
        "same_commit": True,
        "page": f"/jobs/{identity}",
    }
    asked = newer_commit(site)
    words = ["--repo", site.repo, "--branch", "main", "--commit", asked["commit"]]
    done = jobrunner(site, tmp_path, "request", "count", *named(site), *words)
    assert f"That is at another commit ({site.commit[:12]})" in done.stdout
    assert f"Everyone can follow it at {site.server.url}/jobs/{identity}" in done.stdout
    assert f"Next: jobrunner status {identity} --watch" in done.stdout
    # What waits in the other request is told beside what was stored.
    partly = site.call("POST", "requests", json=site.body("count", "other")).json()
    assert [job["action"] for job in partly["request"]["jobs"]] == ["other"]
    assert [one["action"] for one in partly["already"]] == ["count"]


def test_ones_own_requests_are_listed_newest_first_and_twenty_at_most(site: Site, tmp_path: Path) -> None:
    assert site.call("GET", "requests").json() == {"requests": []}
    assert "asked for nothing yet" in jobrunner(site, tmp_path, "status").stdout
    made = []
    for _ in range(21):
        made.append(site.ask("other")["request_id"])
        site.call("POST", f"requests/{made[-1]}/cancel")
    rows = site.call("GET", "requests").json()["requests"]
    assert [row["request_id"] for row in rows] == made[:0:-1]
    assert (rows[0]["state"], rows[0]["summary"], rows[0]["project"]) == (
        "cancelled",
        "1 cancelled",
        site.project,
    )
    done = jobrunner(site, tmp_path, "status", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert made[-1] in done.stdout
    assert made[0] not in done.stdout
    assert "1 cancelled" in done.stdout
    refused = jobrunner(site, tmp_path, "status", "--watch")
    assert (refused.returncode, "which request to watch" in refused.stderr) == (1, True)


def test_status_tells_for_how_long_a_job_has_been_running(site: Site, tmp_path: Path) -> None:
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    site.agent().claim(job)
    past = "2026-01-01 00:00:00"
    site.server.query("UPDATE jobs_job SET started_at = ? WHERE job_id = ?", past, job)
    found = site.call("GET", f"requests/{request['request_id']}").json()
    assert found["jobs"][0]["running_s"] > 86400
    done = jobrunner(site, tmp_path, "status", request["request_id"], COLUMNS="150")
    assert "running " in done.stdout
    assert " d " in done.stdout


def test_status_advises_once_and_for_what_failed_only(site: Site, tmp_path: Path) -> None:
    request = site.ask("chart")
    job = request["jobs"][0]["job_id"]
    agent = site.agent()
    agent.end(job, agent.claim(job), Reason.NONZERO_EXIT, ExitClass.FAILED)
    done = jobrunner(site, tmp_path, "status", request["request_id"])
    said = " ".join(done.stdout.split())
    assert "1 failed, 2 did not run because of it" in said
    assert said.count("Next:") == 1
    assert "Find the error in its log" not in said
    assert "Only the data centre's staff can read its log." in said
