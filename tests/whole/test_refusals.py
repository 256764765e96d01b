"""An approval that is missing, altered, expired, for something else or by somebody else: nothing starts.

The controller's own check is gone round on purpose, as a hostile controller would: the envelope is put into
its database by hand after the jobs were planned.
"""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.fixtures.world import Study, World, eventually

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

FILES = {
    "project.yaml": (
        "version: '5.0'\nactions:\n  work:\n    run: python:v2 work.py\n"
        "    outputs: {moderately_sensitive: {t: output/t.csv}}\n"
    ),
    "work.py": "open('output/t.csv', 'w').write('group,n\\nall,60\\n')\n",
}


def _swap_envelope(world: World, text: str | None) -> None:
    """Do what only a hostile controller can: change what it carries, after planning."""
    if text is None:
        world.query("DELETE FROM projects_approvalsite")
        world.query("DELETE FROM projects_approval")
    else:
        world.query("UPDATE projects_approval SET envelope = ?", text)


def _altered(envelope: str) -> str:
    content = json.loads(envelope)
    content["payload"] = content["payload"].replace('"actions":"all"', '"actions":["work"]')
    return json.dumps(content)


def _by_another_key(world: World, envelope: str) -> str:
    payload = world.root / "other.json"
    payload.write_text(json.loads(envelope)["payload"])
    key = world.root / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return world.cli("approval", "sign", str(payload), "--key", str(key))


@pytest.mark.parametrize(
    ("case", "reason", "detail"),
    [
        ("missing", "approval_missing", ""),
        ("altered", "approval_invalid", "bad_signature"),
        ("expired", "approval_expired", "expired"),
        ("not_yet", "approval_expired", "not_yet"),
        ("other_repository", "approval_invalid", "mismatch"),
        ("other_site", "site_policy", "wrong_site"),
        ("unknown_key", "approval_invalid", "unknown_key"),
        ("not_json", "approval_invalid", "malformed"),
    ],
)
def test_P02_the_agent_refuses_what_the_controller_let_through(
    world: World, engine, case: str, reason: str, detail: str
) -> None:
    study = world.add_study("flchain", FILES)
    now = int(time.time())
    good = world.signed_approval(study)
    swapped = {
        "missing": lambda: None,
        "altered": lambda: _altered(good),
        "expired": lambda: world.signed_approval(study, not_before=now - 100, not_after=now - 10),
        "not_yet": lambda: world.signed_approval(study, not_before=now + 1000, not_after=now + 2000),
        "other_repository": lambda: world.signed_approval(study, repos=[study.url + "-other"]),
        "other_site": lambda: world.signed_approval(study, sites=["elsewhere"]),
        "unknown_key": lambda: _by_another_key(world, good),
        "not_json": lambda: "{",
    }[case]()
    request = world.ask(study, ["work"])
    _swap_envelope(world, swapped)
    world.start_agent()
    job = world.wait(study, request)["jobs"]["work"]
    assert (job["state"], job["reason"]) == ("refused", reason)
    assert not list((world.high / "runs").glob("*")), "nothing may have run"
    assert engine.containers(all=True, filters={"label": f"jobrunner.agent={world.backend}"}) == []
    # The detail stays on the site.
    with sqlite3.connect(world.data / "state/agent.db") as journal:
        [found] = journal.execute("SELECT detail FROM incidents WHERE reason = ?", (reason,)).fetchall()
    assert found == (detail,)


def test_P02_with_the_true_approval_the_same_job_runs(world: World) -> None:
    study = world.add_study("flchain", FILES)
    request = world.ask(study, ["work"])
    _swap_envelope(world, world.signed_approval(study))
    world.start_agent()
    assert world.wait(study, request)["jobs"]["work"]["reason"] == "completed"


def test_a_site_without_a_database_refuses_a_database_action_and_does_not_let_it_wait(
    make_world: Callable[..., World], python_v2_image: str
) -> None:
    world = make_world(images={"sqlrunner:v1": python_v2_image})
    pipeline = FILES["project.yaml"].replace("python:v2", "sqlrunner:v1")
    study = world.add_study("flchain", FILES | {"project.yaml": pipeline})
    request = world.ask(study, ["work"])
    world.start_agent()
    job = world.wait(study, request)["jobs"]["work"]
    assert (job["state"], job["reason"]) == ("refused", "database_not_allowed")


def test_without_an_approval_the_api_refuses_the_request(world: World) -> None:
    study: Study = world.add_study("flchain", FILES, approve=False)
    answer = world.post(study, ["work"])
    assert answer.status_code == 403
    assert [error["id"] for error in answer.json()["errors"]] == ["approval_missing"]


def test_a_request_that_waits_is_shown_waiting(world: World) -> None:
    study = world.add_study("flchain", FILES)
    request = world.ask(study, ["work"])
    job = eventually(lambda: world.read(study, request)["jobs"]["work"])
    assert (job["state"], job["reason"]) == ("pending", "waiting_for_agent")
