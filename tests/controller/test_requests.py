"""Asking for jobs: idempotent, planned from the commit, everything that is wrong said at once."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_sites import Site

pytestmark = pytest.mark.http


def ids(response: object) -> list[str]:
    return [error["id"] for error in response.json()["errors"]]  # type: ignore[attr-defined]


def test_the_same_key_is_the_same_request(site: Site) -> None:
    body = site.body("other")
    first, again = (site.call("POST", "requests", json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["request"] == again.json()["request"]
    other = site.call("POST", "requests", json=body | {"actions": ["extract"]})
    assert (other.status_code, ids(other)) == (409, ["key_reused"])


def test_two_at_once_with_one_key_make_one_request(site: Site) -> None:
    body = site.body("other")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.call("POST", "requests", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["request"]["request_id"] for answer in answers}) == 1


def test_two_at_once_for_one_action_make_one_job(site: Site) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.call("POST", "requests", json=site.body("chart")), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len(site.stored()[0]) == 3  # type: ignore[arg-type]


def test_a_need_that_succeeded_is_reused_and_force_runs_it(site: Site) -> None:
    agent = site.agent()
    first = site.ask("extract")
    agent.run(first["jobs"][0]["job_id"])
    second = site.ask("count")
    assert site.look(second["request_id"]) == {
        "extract": ("succeeded", "reused"),
        "count": ("pending", "waiting_for_agent"),
    }
    reused = next(job for job in second["jobs"] if job["action"] == "extract")
    assert reused["reused_request"] == first["request_id"]
    site.call("POST", f"requests/{second['request_id']}/cancel")
    third = site.ask("count", force=True)
    assert site.look(third["request_id"])["extract"] == ("pending", "waiting_for_agent")


def test_a_need_that_waits_already_is_waited_for_and_its_failure_reaches_the_other_request(
    site: Site,
) -> None:
    agent = site.agent()
    first = site.ask("extract")
    second = site.ask("chart")
    assert list(site.look(second["request_id"])) == ["count", "chart"]
    waiting = site.call("GET", f"requests/{second['request_id']}").json()["jobs"][0]
    assert waiting["why"] == "Waits for `extract` to finish."
    job = first["jobs"][0]["job_id"]
    agent.end(job, agent.claim(job), Reason.NONZERO_EXIT, ExitClass.FAILED)
    assert set(site.look(second["request_id"]).values()) == {("failed", "dependency_failed")}


def test_nothing_to_do_stores_nothing(site: Site) -> None:
    site.ask("other")
    answer = site.call("POST", "requests", json=site.body("other"))
    assert answer.status_code == 200
    assert answer.json()["request"] is None
    assert "already waiting or running" in answer.json()["message"]
    assert len(site.stored()[0]) == 1  # type: ignore[arg-type]


def test_all_that_can_be_told_offline_is_told_together(site: Site) -> None:
    wrong = {
        "actions": [],
        "project": "nope",
        "backend": "tpq",
        "repo": "ftp://x",
        "branch": "",
        "commit": "abc",
    }
    answer = site.call("POST", "requests", json=site.body() | wrong)
    assert answer.status_code == 422
    assert ids(answer) == ["RQ003", "RQ005", "RQ006", "RQ008", "RQ010", "RQ012"]
    assert site.project in answer.json()["errors"][1]["message"]


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"actions": ["modl"]}, 422, "RQ004"),
        ({"branch": "mian"}, 403, "approval_invalid"),
        ({"commit": "0" * 40}, 422, "RQ012"),
        ({"client_key": "a b"}, 400, "malformed"),
        ({"force": "yes"}, 400, "malformed"),
        ({"surprise": 1}, 400, "malformed"),
    ],
)
def test_each_mistake_has_its_word(site: Site, changes: dict[str, object], status: int, word: str) -> None:
    answer = site.call("POST", "requests", json=site.body("other") | changes)
    assert (answer.status_code, ids(answer)) == (status, [word])
    assert site.stored()[0] == []


def test_an_owner_that_is_not_listed_is_told_apart(site: Site) -> None:
    answer = site.call("POST", "requests", json=site.body("other", repo="https://github.com/someone/study"))
    assert (answer.status_code, ids(answer)) == (422, ["RQ009"])
    answer = site.call(
        "POST", "requests", json=site.body("other", repo="https://elsewhere.example/opensafely/x")
    )
    assert (answer.status_code, ids(answer)) == (422, ["RQ008"])


@pytest.mark.slow
def test_git_away_is_503_and_nothing_is_stored(site: Site) -> None:
    body = site.body("other")
    hidden = site.study_folder.with_name("hidden")
    site.study_folder.rename(hidden)
    try:
        answer = site.call("POST", "requests", json=body)
    finally:
        hidden.rename(site.study_folder)
    assert (answer.status_code, ids(answer)) == (503, ["git_unreachable"])
    assert site.stored()[0] == []
    assert site.call("POST", "requests", json=body).status_code == 201


@pytest.mark.slow
def test_a_file_with_errors_is_refused_with_all_of_them(site: Site) -> None:
    site.study.switch("broken", start="main")
    commit = site.study.commit({"project.yaml": "version: '4.0'\nactions:\n  a:\n    run: nonsense\n"})
    site.server.commands([["add-approval", str(site.approve(branches=["main", "broken"], serial=2))]])
    answer = site.call("POST", "requests", json=site.body("a", branch="broken", commit=commit))
    assert (answer.status_code, ids(answer)) == (422, ["RQ002"])
    assert answer.json()["errors"][0]["problems"][0]["line"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"not_after": 1_000_000, "not_before": 0}, "approval_expired"),
        ({"actions": ["extract"]}, "approval_invalid"),
        ({"commits": ["0" * 40]}, "approval_invalid"),
        ({"repos": ["https://github.com/a/b"]}, "approval_invalid"),
    ],
)
def test_an_approval_that_does_not_cover_is_403(site: Site, changes: dict[str, object], word: str) -> None:
    site.server.commands([["add-approval", str(site.approve(serial=2, **changes))]])
    answer = site.call("POST", "requests", json=site.body("other"))
    assert (answer.status_code, ids(answer)) == (403, [word])


def test_no_approval_for_the_backend_is_403(site: Site, other_site: Site) -> None:
    answer = site.call("POST", "requests", json=site.body("other", backend=other_site.backend))
    assert (answer.status_code, ids(answer)) == (403, ["approval_missing"])


@pytest.mark.slow
def test_an_approval_covers_the_needs_too(site: Site) -> None:
    site.server.commands([["add-approval", str(site.approve(serial=2, actions=["count"]))]])
    answer = site.call("POST", "requests", json=site.body("count"))
    assert (answer.status_code, ids(answer)) == (403, ["approval_invalid"])
    assert "`extract`" in answer.json()["errors"][0]["message"]


@pytest.mark.slow
def test_an_older_serial_is_not_stored(site: Site) -> None:
    site.server.commands([["add-approval", str(site.approve(serial=5))]])
    with pytest.raises(AssertionError, match="Serial 5"):
        site.server.command("add-approval", str(site.approve(serial=4)))


def test_run_all_runs_everything_once(site: Site) -> None:
    request = site.ask("run_all", client_key=str(uuid.uuid4()))
    assert sorted(site.look(request["request_id"])) == ["chart", "count", "extract", "other"]


def test_the_openapi_description_names_both_sides(site: Site) -> None:
    paths = site.call("GET", "openapi.json").json()["paths"]
    assert {"/api/v1/requests", "/api/v1/agent/poll", "/api/v1/agent/events"} <= set(paths)
