"""Requests with reusable actions: resolved once, stored with the job, refused as a whole (RA001 to RA010)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from jobrunner.demo.git_server import GitRequestHandler
from tests.fixtures.controller_server import ControllerServer
from tests.fixtures.controller_sites import Site, make_sites
from tests.fixtures.git_fixtures import StudyRepository, run_git, serve

pytestmark = [pytest.mark.http, pytest.mark.slow]

PIPELINE = """\
version: '4.0'
actions:
  extract:
    run: python:v2 python extract.py
    outputs: {highly_sensitive: {rows: rows.csv}}
"""
USES = {
    "good": "foo:v1",
    "again": "foo:v1",
    "annotated": "foo:v2",
    "unknown": "bar:v1",
    "untagged": "foo:v9",
    "unmerged": "foo:v3",
    "gitlink": "module:v1",
    "empty": "empty:v1",
    "broken": "broken:v1",
    "bomb": "bomb:v1",
    "runless": "runless:v1",
    "strange": "strange:v1",
    "database": "sql:v1",
    "study_database": "ehr:v1 generate-dataset",
    "retired": "databuilder:v1",
}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in ("ab", "bc", "cd", "de", "ef", "fg")
)
ACTION_FILES = {
    "foo": "run: python:latest python main.py\n",
    "empty": None,
    "broken": "run: 'python:v2\n",
    "bomb": BOMB + "run: python:v2 a.py\n",
    "runless": "name: x\n",
    "strange": "run: foo:v1 a\n",
    "sql": "run: sqlrunner:v1 all.sql\n",
    "ehr": "run: ehrql:v1\n",
}


class Counting(GitRequestHandler):
    """Remembers what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


def push_tag(repository: StudyRepository, name: str, *options: str) -> None:
    run_git(repository.work, "tag", "--force", *options, name)
    run_git(repository.work, "push", "--quiet", "--force", str(repository.bare), f"refs/tags/{name}")


def make_actions(root: Path) -> dict[str, StudyRepository]:
    made = {}
    for name, content in ACTION_FILES.items():
        files = {"README": "x"} if content is None else {"action.yaml": content}
        made[name] = StudyRepository.create(root, f"actions/{name}", files)
        push_tag(made[name], "v1")
    push_tag(made["foo"], "v2", "--annotate", "--message", "two")
    module = StudyRepository.create(root, "actions/module", {"README": "x"})
    file = module.blob(b"run: python:v2 a.py\n")
    tree = module.tree([("100644", b"action.yaml", file), ("160000", b"inner", "1" * 40)])
    run_git(module.bare, "tag", "v1", module.commit_tree(tree))
    return made


@pytest.fixture(scope="module")
def shelf(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, StudyRepository], list[Site]]]:
    """The repositories of the actions by name, and sites of a controller that looks for them there."""
    folder = tmp_path_factory.mktemp("reusable")
    actions = make_actions(folder / "git")
    text = PIPELINE + "".join(
        f"  {name}:\n    run: {use} --in {name}.csv\n    needs: [extract]\n"
        f"    outputs: {{highly_sensitive: {{rows: {name}.csv}}}}\n"
        for name, use in USES.items()
    )
    study = StudyRepository.create(folder / "git", "studies/study", {"project.yaml": text})
    with serve(folder / "git", Counting) as host:
        prefix = host.url("studies")
        with ControllerServer.start(
            folder / "data",
            git_prefixes=(prefix,),
            REUSABLE_PREFIX=host.url("actions"),
            LONG_POLL_SECONDS="2",
        ) as server:
            yield (
                actions,
                make_sites(server, folder, f"{prefix}/study", study, commit=study.head, numbers=range(30)),
            )


@pytest.fixture
def actions(shelf: tuple[dict[str, StudyRepository], list[Site]]) -> dict[str, StudyRepository]:
    return shelf[0]


@pytest.fixture
def site(shelf: tuple[dict[str, StudyRepository], list[Site]]) -> Site:
    Counting.asked.clear()
    return shelf[1].pop()


def errors(site: Site, *names: str, **changes: Any) -> list[tuple[str, str]]:
    """What a refused request is answered; nothing of it is stored."""
    answer = site.call("POST", "requests", json=site.body(*names, **changes))
    assert answer.status_code == 422, answer.text
    assert site.stored()[0] == []
    return [(error["id"], error["message"]) for error in answer.json()["errors"]]


def jobs(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {job["action"]: job for job in request["jobs"]}


def asked_actions() -> list[str]:
    return [path.partition("/info/")[0] for path in Counting.asked if path.startswith("/actions/")]


def test_the_commit_is_stored_with_the_job_and_shown(site: Site, actions: dict[str, StudyRepository]) -> None:
    request = site.ask("good", "again", "annotated")
    commit = actions["foo"].head
    for name, tag in (("good", "v1"), ("again", "v1"), ("annotated", "v2")):
        job = jobs(request)[name]
        assert (job["code_tag"], job["code_commit"]) == (tag, commit)
        assert job["code_repo"].endswith("/actions/foo")
    assert jobs(request)["extract"]["code_commit"] is None
    page = requests.get(f"{site.server.url}/jobs/{request['request_id']}", timeout=10).text
    assert page.count("Runs the reusable action") == 3
    assert "foo:v1" in page
    assert commit[:7] in page
    data = requests.get(f"{site.server.url}/jobs/{request['request_id']}/data.json", timeout=10).json()
    assert {job["action"]: job["code_commit"] for job in data["jobs"]}["good"] == commit


def test_each_name_and_version_is_looked_up_once_a_request(site: Site) -> None:
    site.ask("good", "again")
    assert asked_actions() == ["/actions/foo"]


def test_a_tag_that_is_moved_later_changes_no_stored_job(
    site: Site, actions: dict[str, StudyRepository]
) -> None:
    first = actions["foo"].head
    request = site.ask("good")
    second = actions["foo"].commit({"README": "more"})
    push_tag(actions["foo"], "v1")
    seen = site.call("GET", f"requests/{request['request_id']}").json()
    assert jobs(seen)["good"]["code_commit"] == first
    site.call("POST", f"requests/{request['request_id']}/cancel")
    assert jobs(site.ask("good"))["good"]["code_commit"] == second


def test_the_run_that_serves_says_which_code_it_had(site: Site, actions: dict[str, StudyRepository]) -> None:
    agent = site.agent()
    first = jobs(site.ask("good"))
    for name in ("extract", "good"):
        agent.run(first[name]["job_id"])
    # A job that only reuses a run has nothing looked up for it.
    Counting.asked.clear()
    again = jobs(site.ask("run_all", branch="main", commit=single_action(site)))
    assert (again["good"]["state"], again["good"]["reason"]) == ("succeeded", "reused")
    assert again["good"]["code_commit"] == first["good"]["code_commit"]
    assert asked_actions() == []


def single_action(site: Site) -> str:
    """A commit of the study that has only `extract`, `good` and one plain action more."""
    text = PIPELINE + (
        "  good:\n    run: foo:v1 --in good.csv\n    needs: [extract]\n"
        "    outputs: {highly_sensitive: {rows: good.csv}}\n"
        "  plain:\n    run: python:v2 python plain.py\n    needs: [good]\n"
        "    outputs: {highly_sensitive: {rows: plain.csv}}\n"
    )
    return site.study.commit({"project.yaml": text})


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("unknown", "RA002", "nothing found at `"),
        ("untagged", "RA003", "has no tag `v9`. See `"),
        ("gitlink", "RA005", "could not be read. Try again"),
        ("empty", "RA006", "is no reusable action: it has no `action.yaml`."),
        ("broken", "RA007", "its `action.yaml` cannot be read: "),
        ("bomb", "RA007", "1,000,000 values"),
        ("runless", "RA008", "its `action.yaml` has no usable `run`: "),
        ("strange", "RA009", "its `action.yaml` asks for the unknown runtime `foo`."),
        ("database", "RA010", "a reusable action may not use the database."),
        ("study_database", "RA010", "a reusable action may not use the database."),
    ],
)
def test_a_request_is_refused_as_a_whole(site: Site, name: str, rule: str, words: str) -> None:
    ((found, message),) = errors(site, "extract", "good", name)
    assert found == rule
    assert message.startswith(f"Action `{name}` uses `{USES[name].split()[0]}`: ")
    assert words in message


def test_a_tag_off_main_is_refused(site: Site, actions: dict[str, StudyRepository]) -> None:
    foo = actions["foo"]
    foo.switch("side")
    foo.commit({"evil.py": ""})
    push_tag(foo, "v3")
    foo.switch("main", start="main")
    ((rule, message),) = errors(site, "unmerged")
    assert rule == "RA004"
    assert "tag `v3` is not approved (not on branch `main`)." in message


def test_all_problems_of_all_actions_are_told_together(site: Site) -> None:
    found = errors(site, "unknown", "untagged", "good", "database")
    assert [rule for rule, _ in found] == ["RA002", "RA003", "RA010"]


@pytest.mark.parametrize("names", [("good", "retired"), ("good", "nowhere")])
def test_no_host_of_actions_is_asked_while_something_else_is_wrong(
    site: Site, names: tuple[str, ...]
) -> None:
    found = errors(site, *names)
    assert [rule for rule, _ in found] == ["RQ014" if "retired" in names else "RQ004"]
    assert asked_actions() == []


def test_no_host_of_actions_is_asked_for_a_request_without_an_approval(site: Site) -> None:
    file = site.approve(serial=2, actions=["extract"])
    site.server.command("add-approval", str(file))
    answer = site.call("POST", "requests", json=site.body("good"))
    assert answer.status_code == 403
    assert asked_actions() == []


def test_no_host_of_actions_is_asked_for_a_request_that_is_known(site: Site) -> None:
    body = site.body("good")
    first = site.call("POST", "requests", json=body).json()
    Counting.asked.clear()
    assert site.call("POST", "requests", json=body).json()["request"] == first["request"]
    assert Counting.asked == []


def test_an_agent_is_told_nothing_of_it(site: Site) -> None:
    agent = site.agent()
    request = jobs(site.ask("good"))
    agent.run(request["extract"]["job_id"])
    (offer,) = agent.poll().offers
    assert offer.action == "good"
    assert request["good"]["code_commit"] not in offer.model_dump_json()
