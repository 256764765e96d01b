"""Attacks on the agent (threats.md section 8, rows P). Each has a twin that succeeds with permission.

The agent is the real one, as a process or as its own loops; the controller is a real server that lies.
"""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approvals import check_signers_file
from jobrunner.agent.attempt_rows import Step
from jobrunner.agent.claiming import work_loop
from jobrunner.agent.contact import Pause
from jobrunner.agent.delivering import deliver_loop
from jobrunner.agent.ending import LEFT_BEHIND
from jobrunner.agent.folder_policy import check_folders
from jobrunner.agent.journal import SCHEMA_VERSION, JournalProblem
from jobrunner.agent.loops import poll_loop
from jobrunner.agent.policy import PolicyProblem, load_site
from jobrunner.agent.service import Agent
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.messages import MAX_ATTEMPT, MAX_REPLY_BYTES
from tests.agent.approvers import Approver, envelope, payload
from tests.agent.loop_bench import Bench, open_bench
from tests.agent.offers import offer_fields
from tests.agent.policies import IMAGE_ID, write_site
from tests.attacks.bad_habits import bad_habits
from tests.evil_controller import replies
from tests.evil_controller.honest import lease, poll_answer
from tests.evil_controller.idle_engine import IdleEngine
from tests.evil_controller.running import ROOT, running_agent
from tests.evil_controller.scene import PIPELINE, Scene, site_of
from tests.evil_controller.server import EvilController, Reply
from tests.fixtures.git_fixtures import StudyRepository, serve


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("git")
    made = StudyRepository.create(folder, "study", {"project.yaml": PIPELINE})
    with serve(folder) as host:
        yield host.url("study"), made.head


@pytest.fixture(scope="module")
def approver(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("approver"), "alice")


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, study: tuple[str, str], approver: Approver
) -> Iterator[Scene]:
    url, head = study
    with EvilController(hold_s=0.1) as controller:
        place = site_of(tmp_path_factory.mktemp("site"), controller, approver, url)
        with running_agent(place) as agent:
            yield Scene(controller, agent, approver, url, head)


# --- P02: what the controller may say about a job ---


@pytest.mark.http
def test_P02_twin_an_approved_offer_runs_as_policy_and_commit_say(scene: Scene) -> None:
    job = scene.offer(scene.fields())
    facts = scene.runs(job).facts
    assert facts["image_id"] == IMAGE_ID
    assert facts["argv"] == ["analysis/canary_script.py"]
    assert facts["patterns"] == [["output/canary_table.csv", "moderately_sensitive"]]
    scene.cancel(job)


@pytest.mark.http
@pytest.mark.parametrize(
    "extra",
    [
        {"image": "evil"},
        {"command": ["sh"]},
        {"environment": {"LD_PRELOAD": "/evil.so"}},
        {"outputs": {}},
        {"site": "site-one"},
        {"parent": "0" * 40},
        {"job_id": "a" * 26},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_P02_an_offer_with_a_field_more_is_not_claimed(scene: Scene, extra: dict[str, Any]) -> None:
    before = scene.agent.details().count(("site_policy", "unknown_field"))
    fields = scene.fields()
    innocent = scene.fields()
    job = scene.offer(fields | extra, innocent)
    scene.polled_again()
    assert scene.agent.details().count(("site_policy", "unknown_field")) == before + 1
    # Nothing of a broken reply counts, not even what is well in it.
    assert scene.claims(job) == 0
    assert scene.claims(job_id_of(innocent["request_id"], innocent["action"])) == 0
    assert scene.agent.journal.attempts_of(job) == []


@pytest.mark.http
@pytest.mark.parametrize("name", ["commit", "branch", "repo", "project"])
def test_P02_a_job_with_changed_fields_is_refused(scene: Scene, name: str) -> None:
    first = scene.fields(approval=None)
    job = scene.offer(first)
    assert scene.outcome(job) == ("approval_missing", "")
    # The changed job would be covered: it is refused because it is not the one that came before.
    changed = {
        "commit": {"commit": "1" * 40},
        "branch": {"branch": "other"},
        "repo": {"repo": scene.url + "2"},
        "project": {"project": scene.project()},
    }[name]
    project = changed.get("project", first["project"])
    approval = envelope(
        payload(project=project, repos=[scene.url, scene.url + "2"], branches=["main", "other"]),
        scene.approver,
    )
    scene.offer(first | changed | {"approval": approval})
    assert scene.outcome(job, 2) == ("site_policy", "malformed")
    scene.all_told()
    assert scene.told(job)[-1]["reason"] == "site_policy"

    # The twin: the same fields as at first, and an approval.
    scene.offer(first | {"approval": scene.approve(first["project"])})
    scene.runs(job, 3)
    scene.cancel(job, 3)


@pytest.mark.http
def test_P02_a_contradiction_is_not_forgotten_when_the_claim_is_answered_later(scene: Scene) -> None:
    first = scene.fields(approval=None)
    job = scene.offer(first)
    assert scene.outcome(job) == ("approval_missing", "")
    good = {"approval": scene.approve(first["project"])}
    # The claim of the changed job gets no usable answer, and then the true job is offered again.
    scene.controller.play("claim", replies.answer({"lease": lease(2), "hint": 1}))
    scene.offer(first | good | {"commit": "1" * 40})
    scene.agent.wait_until(lambda: scene.claims(job) == 2)
    scene.polled_again()
    scene.offer(first | good)
    assert scene.outcome(job, 2) == ("site_policy", "malformed")


@pytest.mark.http
def test_P02_an_approval_for_another_site(scene: Scene) -> None:
    project = scene.project()
    job = scene.offer(scene.fields(project=project, approval=scene.approve(project, sites=["site-two"])))
    assert scene.outcome(job) == ("site_policy", "wrong_site")


@pytest.mark.http
def test_P02_an_older_approval_after_a_newer_one(scene: Scene) -> None:
    project = scene.project()
    newer, older = (scene.approve(project, serial=serial) for serial in (2, 1))
    job = scene.offer(scene.fields(project=project, approval=newer))
    scene.runs(job)
    refused = scene.offer(scene.fields(project=project, approval=older))
    assert scene.outcome(refused) == ("approval_invalid", "superseded")
    again = scene.offer(scene.fields(project=project, approval=newer))
    scene.runs(again)
    scene.cancel(job)
    scene.cancel(again)


@pytest.mark.http
def test_P02_an_action_that_the_commit_does_not_have(scene: Scene) -> None:
    job = scene.offer(scene.fields(action="evil"))
    assert scene.outcome(job) == ("action_unknown", "")


@pytest.mark.http
def test_P02_the_operator_sees_the_detail_and_the_controller_the_reason_only(scene: Scene) -> None:
    project = scene.project()
    job = scene.offer(scene.fields(project=project, approval=scene.approve(project, sites=["site-two"])))
    scene.outcome(job)
    assert ("site_policy", "wrong_site") in scene.agent.details()
    scene.agent.wait_until(lambda: scene.told(job) and scene.told(job)[-1]["stage"] == "ended")
    ended = scene.told(job)[-1]
    assert (ended["exit_class"], ended["reason"]) == ("refused", "site_policy")
    for inside in (b"wrong_site", b"unknown_field", b"superseded", b"canary", b"site-two", b"analysis/"):
        assert inside not in scene.controller.received


@pytest.mark.http
def test_O11_all_that_left_is_of_the_closed_list(scene: Scene) -> None:
    closed = {
        "hello": {"agent_id", "protocol", "version", "runtimes", "policy_digest"},
        "poll": {"accepting", "slots"},
        "claim": {"job_id", "attempt"},
        "renew": {"job_id", "attempt"},
        "events": {"events"},
    }
    event = {
        "event_id",
        "job_id",
        "attempt",
        "stage",
        "exit_class",
        "reason",
        "started",
        "finished",
        "signature",
    }
    assert {"hello", "poll", "claim", "events"} <= {request.call for request in scene.controller.requests()}
    for request in scene.controller.requests():
        said = json.loads(request.body)
        assert set(said) == closed[request.call]
        assert all(set(one) == event for one in said.get("events", []))
        assert {name for name, _value in request.headers} <= {
            "Host", "Authorization", "User-Agent", "Accept", "Accept-Encoding", "Content-Type",
            "Content-Length", "Jobrunner-Attempt",
        }  # fmt: skip


# --- P05, P06: what comes from proxies, broken lines and liars ---

RUBBISH: dict[str, Reply] = {
    "html with 200": replies.answer(b"<html>sign in</html>", kind="text/html"),
    "502": replies.answer(b"<html>bad gateway</html>", status=502, kind="text/html"),
    "cut": replies.cut(poll_answer(), keep=10),
    "gzip": replies.answer(b"\x1f\x8b\x08\x00rubbish", headers={"Content-Encoding": "gzip"}),
    "nothing": replies.raw(b""),
    "500 with a final error": replies.answer({"error": "taken"}, status=500),
}
LIES: dict[str, Any] = {
    "deep": b"[" * 200_000,
    "wrong type": poll_answer(pause="no"),
    "big int": b'{"retry_after": 1' + b"0" * 5000 + b"}",
    "nan": b'{"pause": NaN}',
    "duplicate keys": b'{"pause": false, "pause": true}',
}


@pytest.mark.slow
@pytest.mark.http
def test_P05_what_is_no_answer_changes_nothing(scene: Scene) -> None:
    scene.controller.play("poll", *RUBBISH.values())
    fields = scene.fields()
    # The claim is not answered either; it may have been granted, so it is asked again.
    scene.controller.play("claim", *list(RUBBISH.values())[:2])
    job = scene.offer(fields)
    scene.runs(job)
    assert scene.claims(job) == 3
    assert [attempt.number for attempt in scene.agent.journal.attempts_of(job)] == [1]
    scene.cancel(job)


@pytest.mark.http
def test_P05_a_redirect_is_not_followed(scene: Scene) -> None:
    with EvilController() as elsewhere:
        for status in (302, 307):
            away = {"Location": f"{elsewhere.url}/api/v1/agent/poll"}
            scene.controller.play("poll", replies.answer(b"", status=status, headers=away))
        scene.polled_again()
        assert elsewhere.received == b""


@pytest.mark.http
def test_P05_an_event_is_sent_until_it_is_acknowledged(scene: Scene) -> None:
    scene.all_told()
    lost = [RUBBISH["html with 200"], RUBBISH["nothing"], replies.answer({"acks": [], "extra": 1})]
    scene.controller.play("events", *lost)
    job = scene.offer(scene.fields(approval=None))

    def first() -> list[dict[str, Any]]:
        return [event for event in scene.told(job) if event["stage"] == "preparing"]

    scene.agent.wait_until(lambda: len(first()) == len(lost) + 1)
    scene.all_told()
    assert len(first()) == len(lost) + 1
    # Each repeat is the same event, byte for byte.
    assert len({json.dumps(event, sort_keys=True) for event in first()}) == 1


@pytest.mark.http
def test_P05_http_is_refused_in_production(tmp_path: Path, scene: Scene) -> None:
    place = write_site(tmp_path, mode="production", controller__url=scene.controller.url)
    done = agent_command("run", str(place))
    assert done.returncode == 1
    assert "controller.url" in done.stderr


@pytest.mark.slow
@pytest.mark.http
def test_P06_hostile_json_is_refused_before_anything_acts_on_it(scene: Scene) -> None:
    before = scene.agent.details().count(("site_policy", "malformed"))
    # Each carries a cancel of a running job where it can: none is obeyed.
    job = scene.offer(scene.fields())
    scene.runs(job)
    cancels = [{"job_id": job, "attempt": 1}]
    huge = json.dumps(poll_answer(cancels=cancels)).encode() + b" " * MAX_REPLY_BYTES
    wrong = poll_answer(cancels=[*cancels, {"job_id": job, "attempt": 1e400}])
    bodies = [*LIES.values(), wrong]
    began = time.monotonic()
    scene.controller.play("poll", replies.answer(huge), *(replies.answer(body) for body in bodies))
    scene.agent.wait_until(
        lambda: scene.agent.details().count(("site_policy", "malformed")) >= before + len(bodies), 60
    )
    assert time.monotonic() - began < 60
    attempt = scene.agent.journal.get(job, 1)
    assert attempt is not None
    assert (attempt.step, attempt.cancel) == (Step.WAIT, None)
    scene.cancel(job)


# --- P21, P22: the loops themselves, with short patience ---


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("jobrunner.sync.client.LONG_POLL_S", 0.0)
    monkeypatch.setattr("jobrunner.agent.contact.SHORTEST_PAUSE_S", 0.01)
    with open_bench(tmp_path) as opened:
        yield opened


@pytest.mark.http
@pytest.mark.parametrize("call", ["hello", "poll", "claim", "events"])
def test_P21_a_controller_that_never_answers_is_left_at_the_deadline(bench: Bench, call: str) -> None:
    bench.controller.play(call, replies.hang())
    fields = offer_fields()
    job = job_id_of(fields["request_id"], fields["action"])
    bench.controller.play("poll", replies.answer(poll_answer(fields)))
    began = time.monotonic()
    bench.run(poll_loop, work_loop, deliver_loop)
    # The twin is in the same run: the second asking is answered, and the work goes on.
    bench.controller.wait_for(lambda: len(bench.controller.requests(call)) >= 2)
    bench.controller.wait_for(lambda: bool(bench.started) and bool(bench.controller.requests("events")))
    assert bench.started[0].key == (job, 1)
    assert time.monotonic() - began < 5


@pytest.mark.http
def test_P21_a_running_job_that_is_cancelled_is_told_within_5_seconds(scene: Scene) -> None:
    job = scene.offer(scene.fields())
    scene.runs(job)
    began = time.monotonic()
    scene.cancel(job)
    scene.agent.wait_until(lambda: scene.told(job) and scene.told(job)[-1]["stage"] == "ended")
    assert time.monotonic() - began < 5
    assert (scene.told(job)[-1]["exit_class"], scene.told(job)[-1]["reason"]) == ("cancelled", "by_requester")


@pytest.mark.http
@pytest.mark.parametrize(
    "answer",
    [
        replies.answer({"protocol": 2}),
        replies.answer({"error": "unknown_protocol"}, status=426),
        replies.answer({"protocol": 1, "features": ["new"]}),
        replies.answer({"error": "please_update"}, status=400),
    ],
    ids=["another protocol", "unknown_protocol", "newer fields", "unknown error"],
)
def test_P22_a_peer_of_another_version_is_not_worked_with(bench: Bench, answer: Reply) -> None:
    bench.controller.play("hello", answer, answer, answer)
    bench.controller.play("poll", replies.answer(poll_answer(offer_fields())))
    bench.run(poll_loop, work_loop)
    bench.controller.wait_for(lambda: len(bench.controller.requests("poll")) >= 1)
    # Three refused greetings came before; the fourth was understood, and only then work began.
    calls = [request.call for request in bench.controller.requests()]
    assert calls[:5] == ["hello"] * 4 + ["poll"]


@pytest.mark.http
def test_P22_a_peer_that_changes_its_version_is_greeted_anew(bench: Bench) -> None:
    bench.controller.play("poll", replies.answer({"error": "unknown_protocol"}, status=426))
    bench.run(poll_loop)
    bench.controller.wait_for(lambda: len(bench.controller.requests("poll")) >= 2)
    assert [request.call for request in bench.controller.requests()][:4] == ["hello", "poll", "hello", "poll"]


@pytest.mark.http
def test_P22_an_unknown_error_to_a_claim_is_asked_again(bench: Bench) -> None:
    bench.controller.play("claim", replies.answer({"error": "gone_away"}, status=409))
    bench.controller.play("poll", replies.answer(poll_answer(offer_fields())))
    bench.run(poll_loop, work_loop)
    bench.controller.wait_for(lambda: bool(bench.started))
    assert len(bench.controller.requests("claim")) == 2


@pytest.mark.http
def test_P22_twin_a_listed_error_to_a_claim_is_final(bench: Bench) -> None:
    fields = offer_fields()
    bench.controller.play("claim", replies.answer({"error": "taken"}, status=409))
    bench.controller.play("poll", replies.answer(poll_answer(fields)))
    bench.run(poll_loop, work_loop)
    bench.controller.wait_for(lambda: len(bench.controller.requests("poll")) >= 3)
    assert len(bench.controller.requests("claim")) == 1
    assert bench.started == []
    assert bench.journal.attempts_of(job_id_of(fields["request_id"], fields["action"])) == []


@pytest.mark.http
@pytest.mark.parametrize(
    "answer", [lease(1) | {"token": None}, lease(1)], ids=["without a token", "an older attempt"]
)
def test_P22_a_lease_that_cannot_be_used_starts_nothing(bench: Bench, answer: dict[str, Any]) -> None:
    fields = offer_fields()
    if answer["token"] is not None:
        # Attempt 1 is over here, so the agent asks for number 2 at least.
        bench.controller.play("poll", replies.answer(poll_answer(fields)))
        bench.run(poll_loop, work_loop, deliver_loop)
        bench.controller.wait_for(lambda: bool(bench.started))
        bench.journal.advance(bench.started.pop(), Step.DONE)
        bench.controller.wait_for(lambda: not bench.journal.open_attempts())
        bench.controller.wait_for(lambda: bool(bench.controller.requests("events")))
        bench.controller.wait_for(lambda: bench.shared.desk.free() >= 1)
        time.sleep(0.1)
    else:
        bench.run(poll_loop, work_loop)
    before = len(bench.controller.requests("claim"))
    bench.controller.play("claim", replies.answer({"lease": answer}))
    bench.controller.play("poll", replies.answer(poll_answer(fields)))
    bench.controller.wait_for(lambda: len(bench.controller.requests("claim")) > before)
    bench.controller.wait_for(lambda: bool(bench.journal.incidents(1)))
    assert bench.journal.incidents(1)[0][3:5] == ("site_policy", "malformed")
    assert bench.started == []


@pytest.mark.http
def test_P22_attempt_numbers_that_run_out_do_not_end_the_loop(bench: Bench) -> None:
    fields, other = offer_fields(), offer_fields()
    bench.controller.play("claim", replies.answer({"lease": lease(MAX_ATTEMPT)}))
    bench.controller.play("poll", replies.answer(poll_answer(fields)))
    bench.run(poll_loop, work_loop, deliver_loop)
    bench.controller.wait_for(lambda: bool(bench.started))
    bench.journal.advance(bench.started[0], Step.DONE)
    bench.controller.wait_for(lambda: bool(bench.controller.requests("events")))
    time.sleep(0.1)
    bench.shared.desk.give_back(0)
    bench.controller.play("poll", replies.answer(poll_answer(fields, other)))
    bench.controller.wait_for(lambda: len(bench.started) == 2)
    assert bench.started[1].offer.request_id == other["request_id"]


@pytest.mark.unit
@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 77])
def test_P22_another_journal_is_not_guessed_at(tmp_path: Path, version: int) -> None:
    site = load_site(write_site(tmp_path / "site"))
    Agent(site, IdleEngine())
    connection = sqlite3.connect(site.state / "agent.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(JournalProblem, match="another version"):
        Agent(site, IdleEngine())


# --- P16: habits that the build refuses ---


@pytest.mark.unit
def test_P16_the_product_has_none_of_the_bad_habits() -> None:
    found = {}
    for path in sorted((ROOT / "jobrunner").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if habits := bad_habits(path.read_text(encoding="utf-8"), place):
            found[place] = habits
    assert found == {}


HABITS = {
    "import pickle": "pickle",
    "from marshal import loads": "marshal",
    "import joblib.numpy_pickle": "joblib",
    "import yaml\nyaml.load(text, Loader)": "yaml.load",
    "eval(text)": "eval",
    "exec(text)": "exec",
    "import subprocess\nsubprocess.run(text, shell=True)": "shell",
    "import subprocess\nsubprocess.run(text, shell=flag)": "shell",
    "import os\nos.system(text)": "os.system",
    "import random": "random",
    "from random import choice": "random",
    "assert token": "assert",
    "import tempfile\ntempfile.mktemp()": "tempfile.mktemp",
    "import requests\nrequests.get(url, verify=False)": "verify",
}


@pytest.mark.unit
@pytest.mark.parametrize("source", HABITS)
def test_P16_twin_each_habit_is_seen(source: str) -> None:
    assert bad_habits(source, "jobrunner/new.py") == {HABITS[source]}


@pytest.mark.unit
def test_P16_ruff_refuses_what_it_knows() -> None:
    known = {
        "S101": "assert text",
        "S102": "exec(text)",
        "S301": "import pickle\npickle.loads(text)",
        "S302": "import marshal\nmarshal.loads(text)",
        "S306": "import tempfile\ntempfile.mktemp()",
        "S307": "eval(text)",
        "S311": "import random\nrandom.choice(text)",
        "S501": "import requests\nrequests.get(text, verify=False, timeout=1)",
        "S506": "import yaml\nyaml.load(text)",
        "S602": "import subprocess\nsubprocess.run(text, shell=True)",
        "S605": "import os\nos.system(text)",
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--config", "pyproject.toml",
            "--output-format", "json", "--stdin-filename", "jobrunner/new.py", "-",
        ],
        input="\n".join(known.values()).encode(),
        cwd=ROOT,
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert set(known) <= {problem["code"] for problem in json.loads(done.stdout)}


# --- P17: settings that the agent does not start with ---


def agent_command(*words: str) -> subprocess.CompletedProcess[str]:
    """The real command, `jobrunner agent ...`."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("jobrunner")), "agent", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def open_file(name: str, mode: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(mode)


def nothing(_folder: Path) -> None:
    return


def move(name: str, to: str) -> Callable[[Path], Any]:
    def moved(folder: Path) -> None:
        (folder / to).parent.mkdir()
        (folder / name).rename(folder / to)

    return moved


def program(name: str) -> Callable[[Path], Any]:
    def made(folder: Path) -> None:
        (folder / name).parent.mkdir()
        (folder / name).touch(0o755)

    return made


STARTS = [
    ({}, open_file("agent.toml", 0o666), "agent.toml"),
    ({"credential": "changeme"}, nothing, "controller.credential_file"),
    ({"mode": "production", "controller__url": "http://127.0.0.1:8000"}, nothing, "controller.url"),
    ({"signers": "alice ssh-ed25519 AAAA\n"}, nothing, "approvals.allowed_signers"),
    ({}, open_file("credential", 0o644), "controller.credential_file"),
    ({}, open_file("agent_key.pem", 0o644), "keys.agent_key_file"),
    ({}, open_file("allowed_signers", 0o666), "approvals.allowed_signers"),
    ({}, lambda folder: (folder / "agent_key.pem").write_text("no key"), "keys.agent_key_file"),
    ({"mode": "debug"}, nothing, "mode"),
    ({"debug": True}, nothing, "debug"),
    ({"images": {"python:v2": {"id": "latest", "entrypoint": ["x"]}}}, nothing, "images.python:v2.id"),
    ({"folders__medium": "high"}, nothing, "folders.medium"),
    ({"folders__high": "cache/high"}, nothing, "folders.high"),
    ({"folders__state": "data/../medium/state"}, nothing, "folders.state"),
    ({"folders__cache": "link/cache"}, lambda folder: (folder / "link").symlink_to("high"), "folders.cache"),
    ({"folders__state": "."}, nothing, "folders.high"),
    ({"folders__high": "/"}, nothing, "folders.medium"),
    ({"keys__agent_key_file": "state/key"}, move("agent_key.pem", "state/key"), "folders.state"),
    ({"controller__credential_file": "medium/c"}, move("credential", "medium/c"), "folders.medium"),
    ({"hook__program": "cache/ask"}, program("cache/ask"), "folders.cache"),
]  # fmt: skip


@pytest.mark.unit
@pytest.mark.parametrize(("changes", "spoil", "setting"), STARTS)
def test_P17_a_setting_that_is_not_safe_stops_the_start(
    tmp_path: Path, changes: dict[str, Any], spoil: Callable[[Path], Any], setting: str
) -> None:
    place = write_site(tmp_path / "site", **changes)
    spoil(tmp_path / "site")

    def start() -> None:
        site = load_site(place)
        check_signers_file(site)
        check_folders(site, place)
        Agent(site, IdleEngine())

    with pytest.raises(PolicyProblem, match=re.escape(setting)):
        start()


@pytest.mark.slow
@pytest.mark.unit
@pytest.mark.parametrize(("changes", "spoil", "setting"), STARTS[:4])
def test_P17_the_command_says_which_setting_in_one_line(
    tmp_path: Path, changes: dict[str, Any], spoil: Callable[[Path], Any], setting: str
) -> None:
    place = write_site(tmp_path / "site", **changes)
    spoil(tmp_path / "site")
    done = agent_command("run", str(place))
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("jobrunner: the agent does not start: ")
    assert setting in said


@pytest.mark.unit
def test_P17_twin_a_good_policy_starts(tmp_path: Path) -> None:
    site = load_site(write_site(tmp_path / "site"))
    check_signers_file(site)
    check_folders(site, tmp_path / "site" / "agent.toml")
    Agent(site, IdleEngine())


# --- P24: TERM ---


@pytest.mark.http
def test_P24_term_without_work_ends_at_once(
    tmp_path: Path, study: tuple[str, str], approver: Approver
) -> None:
    with (
        EvilController(hold_s=0.1) as controller,
        running_agent(site_of(tmp_path, controller, approver, study[0])) as agent,
    ):
        controller.wait_for(lambda: bool(controller.requests("poll")))
        agent.terminate()
        assert agent.process.wait(5) == 0
        assert agent.said("stopped")


@pytest.mark.slow
@pytest.mark.http
def test_P24_term_once_drains_and_twice_aborts(
    tmp_path: Path, study: tuple[str, str], approver: Approver
) -> None:
    url, head = study
    with (
        EvilController(hold_s=0.1) as controller,
        running_agent(site_of(tmp_path, controller, approver, url)) as agent,
    ):
        scene = Scene(controller, agent, approver, url, head)
        job = scene.offer(scene.fields())
        scene.runs(job)
        agent.terminate()
        agent.wait_until(lambda: agent.said("draining"))
        # What runs goes on, what waits is not begun.
        late = scene.offer(scene.fields())
        time.sleep(0.7)
        assert agent.process.poll() is None
        assert scene.runs(job).cancel is None
        assert scene.claims(late) == 0
        began = time.monotonic()
        agent.terminate()
        assert agent.process.wait(10) == 0
        assert time.monotonic() - began < 5
        ended = scene.told(job)[-1]
        assert (ended["exit_class"], ended["reason"]) == ("cancelled", "by_site")
        attempt = agent.journal.get(job, 1)
        assert attempt is not None
        assert attempt.step is Step.DONE


@pytest.mark.slow
@pytest.mark.http
def test_P24_a_stuck_thread_cannot_keep_the_agent(
    tmp_path: Path, study: tuple[str, str], approver: Approver
) -> None:
    url, head = study
    with (
        EvilController(hold_s=0.1) as controller,
        running_agent(site_of(tmp_path, controller, approver, url), engine="stuck") as agent,
    ):
        scene = Scene(controller, agent, approver, url, head)
        job = scene.offer(scene.fields())
        scene.runs(job)
        agent.terminate()
        agent.terminate()
        agent.wait_until(lambda: agent.said("draining"))
        if not agent.said("aborting"):
            agent.terminate()
        assert agent.process.wait(8) == LEFT_BEHIND
        # The attempt is not lost: the next start finds it where it was.
        (attempt,) = agent.journal.open_attempts()
        assert attempt.key == (job, 1)
        assert attempt.step is Step.WAIT


# --- P27: agents that do not knock in step ---


@pytest.mark.unit
def test_P27_pauses_grow_to_a_limit_and_differ() -> None:
    lengths = [[pause.seconds() for _ in range(12)] for pause in (Pause() for _ in range(200))]
    for number, (low, high) in enumerate([(0.25, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (15, 30)]):
        column = [row[number] for row in lengths]
        assert all(low <= one <= high for one in column)
        # Spread over the whole of the range, not round one moment.
        assert max(column) - min(column) > 0.8 * (high - low)
        assert len(set(column)) > 150
    assert all(15 <= one <= 30 for row in lengths for one in row[6:])


@pytest.mark.unit
def test_P27_a_pause_begins_anew_after_an_answer() -> None:
    pause = Pause()
    for _ in range(10):
        pause.seconds()
    pause.reset()
    assert pause.seconds() <= 0.5
