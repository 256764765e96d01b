"""Several jobs at once on one agent, and operators who end it (threats.md section 8: P21, P24, P27).

The agent is the real one as a process, over an engine that runs nothing until it is stopped; the controller
is a real server that lies.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.attempt_rows import Step
from jobrunner.agent.control import Word, say
from jobrunner.agent.ending import LEFT_BEHIND
from jobrunner.agent.overview import overview_lines
from jobrunner.demo.git_server import GitRequestHandler
from jobrunner.sync.identity import job_id as job_id_of
from tests.agent.approvers import Approver
from tests.agent.policies import IMAGE_ID
from tests.evil_controller import replies
from tests.evil_controller.honest import poll_answer
from tests.evil_controller.running import RunningAgent, running_agent
from tests.evil_controller.scene import Scene, site_of
from tests.evil_controller.server import EvilController
from tests.fixtures.database_files import make_database
from tests.fixtures.git_fixtures import StudyRepository, serve
from tests.study.evil_hosts import hanging

pytestmark = [pytest.mark.http, pytest.mark.slow]

PIPELINE = """\
version: "4.0"
actions:
  describe:
    run: python:v2 describe.py
    outputs: {moderately_sensitive: {table: output/table.csv}}
  model:
    run: python:v2 model.py
    outputs: {moderately_sensitive: {table: output/model.csv}}
  extract:
    run: ehrql:v1 generate-dataset dataset.py --output output/dataset.csv
    outputs: {highly_sensitive: {rows: output/dataset.csv}}
"""
OTHER_ID = "sha256:" + "2" * 64


@pytest.fixture(scope="module")
def approver(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("approver"), "alice")


OpenScene = Callable[..., Any]


@pytest.fixture
def open_scene(tmp_path: Path, approver: Approver) -> OpenScene:
    """open_scene(slots=2, database_slots=1, git=handler, engine="idle") -> a Scene, as a context manager."""

    @contextmanager
    def opened(
        *,
        slots: int = 2,
        database_slots: int = 0,
        git: type[GitRequestHandler] = GitRequestHandler,
        engine: str = "idle",
    ) -> Iterator[Scene]:
        study = StudyRepository.create(tmp_path / "git", "study", {"project.yaml": PIPELINE})
        changes: dict[str, Any] = {"limits__slots": slots}
        if database_slots:
            database = make_database(tmp_path / "databases")
            changes["images"] = {
                "python:v2": {"id": IMAGE_ID, "entrypoint": ["python3"]},
                "ehrql:v1": {"id": OTHER_ID, "entrypoint": ["ehrql"]},
            }
            changes["database"] = {
                "dataset": "patients", "kind": database.kind, "file": str(database.path), "public": True,
                "slots": database_slots, "images": {OTHER_ID: ["generate-dataset"]},
            }  # fmt: skip
        with serve(tmp_path / "git", git) as host, EvilController(hold_s=0.1) as controller:
            place = site_of(tmp_path / "site", controller, approver, host.url("study"), **changes)
            with running_agent(place, engine=engine) as agent:
                yield Scene(controller, agent, approver, host.url("study"), study.head)

    return opened


def state_of(agent: RunningAgent) -> Path:
    return agent._state


def at_step(scene: Scene, step: Step) -> list[str]:
    return [attempt.job_id for attempt in scene.agent.journal.open_attempts() if attempt.step is step]


def command(scene: Scene, *words: str) -> subprocess.Popen[str]:
    """`jobrunner agent WORDS POLICY` beside the running agent."""
    policy = state_of(scene.agent).parent / "agent.toml"
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("jobrunner")), "agent", words[0], str(policy), *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def database_fields(scene: Scene, **changes: Any) -> dict[str, Any]:
    project = scene.project()
    approval = scene.approve(project, database=True, datasets=["patients"])
    return scene.fields(project=project, approval=approval, action="extract", **changes)


# --- P27 and places ---


def test_P27_of_sixteen_offers_as_many_are_claimed_as_there_are_places(open_scene: OpenScene) -> None:
    with open_scene(slots=2) as scene:
        offered = [scene.fields() for _ in range(16)]
        jobs = [job_id_of(fields["request_id"], fields["action"]) for fields in offered]
        scene.offer(*offered)
        scene.agent.wait_until(lambda: len(at_step(scene, Step.WAIT)) == 2)
        scene.controller.play("poll", *[replies.answer(poll_answer(*offered))] * 3)
        scene.polled_again()
        assert len(scene.controller.requests("claim")) == 2
        running = at_step(scene, Step.WAIT)
        assert sorted(running) == sorted(jobs[:2])
        # A place that is given back is taken at once, by the offer that is next and is there already.
        cancels = [{"job_id": running[0], "attempt": 1}]
        # Said again and again: a poll without offers would take them back before a slow place is free.
        again = replies.answer(poll_answer(*offered[2:], cancels=cancels))
        scene.controller.play("poll", *[again] * 10)
        scene.agent.wait_until(lambda: jobs[2] in at_step(scene, Step.WAIT))
        assert len(scene.controller.requests("claim")) == 3


def test_P27_offers_that_cannot_be_placed_do_not_make_the_agent_spin(open_scene: OpenScene) -> None:
    with open_scene(slots=1) as scene:
        fields = scene.fields()
        scene.runs(scene.offer(fields))
        spam = replies.answer(poll_answer(scene.fields(), scene.fields()))
        scene.controller.play("poll", *[spam] * 200)
        before = len(scene.controller.requests("poll"))
        time.sleep(1)
        # Pauses begin at 20 ms here and double.
        assert len(scene.controller.requests("poll")) - before < 15


def test_the_free_places_that_are_told_are_true(open_scene: OpenScene) -> None:
    with open_scene(slots=3, database_slots=1) as scene:
        scene.controller.wait_for(lambda: bool(scene.controller.requests("poll")))
        assert told(scene) == {"db": 1, "plain": 3}
        database = scene.offer(database_fields(scene))
        scene.runs(database)
        scene.polled_again()
        assert told(scene) == {"db": 0, "plain": 2}
        scene.runs(scene.offer(scene.fields()))
        scene.polled_again()
        assert told(scene) == {"db": 0, "plain": 1}
        scene.cancel(database)
        scene.polled_again()
        assert told(scene) == {"db": 1, "plain": 2}


def told(scene: Scene) -> dict[str, int]:
    slots: dict[str, int] = json.loads(scene.controller.requests("poll")[-1].body)["slots"]
    return slots


def test_P02_a_database_action_that_is_offered_as_any_other_takes_a_database_place(
    open_scene: OpenScene,
) -> None:
    with open_scene(slots=4, database_slots=1) as scene:
        offered = [database_fields(scene) for _ in range(3)]
        jobs = [job_id_of(fields["request_id"], fields["action"]) for fields in offered]
        scene.offer(*offered)
        scene.agent.wait_until(lambda: len(at_step(scene, Step.STAGE)) == 2)
        for left in (2, 1, 0):
            scene.agent.wait_until(lambda: len(at_step(scene, Step.WAIT)) == 1)
            assert len(at_step(scene, Step.STAGE)) == left
            # What waits does not keep another kind of job from starting.
            plain = scene.offer(scene.fields())
            scene.runs(plain)
            scene.cancel(plain)
            (running,) = at_step(scene, Step.WAIT)
            assert running in jobs
            scene.cancel(running)


def test_P21_a_cancel_reaches_who_waits_for_a_database_place(open_scene: OpenScene) -> None:
    with open_scene(slots=2, database_slots=1) as scene:
        running, waiting = database_fields(scene), database_fields(scene)
        first = scene.offer(running)
        scene.runs(first)
        second = scene.offer(waiting)
        scene.agent.wait_until(lambda: at_step(scene, Step.STAGE) == [second])
        began = time.monotonic()
        scene.cancel(second)
        scene.agent.wait_until(lambda: [event["stage"] for event in scene.told(second)][-1:] == ["ended"])
        assert time.monotonic() - began < 2
        assert scene.told(second)[-1]["started"] is None
        assert at_step(scene, Step.WAIT) == [first]


def test_P21_a_cancel_during_a_fetch_is_told_within_5_seconds(open_scene: OpenScene) -> None:
    asked: list[str] = []
    with open_scene(slots=2, git=hanging(8, asked)) as scene:
        # Two jobs of one request: one fetches, the other waits for that fetch.
        first = scene.fields()
        second = first | {"action": "model"}
        jobs = [job_id_of(fields["request_id"], fields["action"]) for fields in (first, second)]
        scene.offer(first, second)
        scene.agent.wait_until(lambda: bool(asked) and sorted(at_step(scene, Step.FETCH)) == sorted(jobs))
        began = time.monotonic()
        cancels = [{"job_id": job, "attempt": 1} for job in jobs]
        scene.controller.play("poll", replies.answer(poll_answer(cancels=cancels)))
        for job in jobs:
            assert scene.outcome(job) == ("by_requester", "")
            scene.agent.wait_until(
                lambda job=job: scene.told(job) and scene.told(job)[-1]["stage"] == "ended"
            )
        assert time.monotonic() - began < 5
        scene.agent.wait_until(lambda: say(state_of(scene.agent), Word.STATUS)["places"][0] == 0)


# --- P24: drain and abort ---


def test_P24_drain_waits_for_what_runs_and_says_so(open_scene: OpenScene) -> None:
    with open_scene(slots=2) as scene:
        job = scene.offer(scene.fields())
        scene.runs(job)
        with command(scene, "drain") as drain:
            assert drain.stdout is not None
            assert "starts nothing new" in drain.stdout.readline()
            still = drain.stdout.readline()
            assert still.startswith("Still: ")
            assert f"{job}-1  running, since" in still
            late = scene.offer(scene.fields())
            scene.polled_again()
            assert json.loads(scene.controller.requests("poll")[-1].body)["accepting"] is False
            # A cancel is heard all the time, and ends what the agent waits for.
            scene.cancel(job)
            rest = drain.stdout.read()
            assert rest.endswith("The agent has ended.\n")
            assert drain.wait(10) == 0
        assert scene.agent.process.wait(5) == 0
        assert scene.claims(late) == 0
        assert scene.told(job)[-1]["reason"] == "by_requester"


def test_P24_abort_ends_what_runs_and_tells_it(open_scene: OpenScene) -> None:
    with open_scene(slots=3, database_slots=1) as scene:
        plain = scene.offer(scene.fields())
        scene.runs(plain)
        database = scene.offer(database_fields(scene))
        scene.runs(database)
        waiting = scene.offer(database_fields(scene))
        scene.agent.wait_until(lambda: at_step(scene, Step.STAGE) == [waiting])
        with command(scene, "abort") as abort:
            printed, complaint = abort.communicate(timeout=20)
        assert (abort.returncode, complaint) == (0, "")
        assert printed.startswith("The agent ends what runs")
        assert scene.agent.process.wait(5) == 0
        for job in (plain, database, waiting):
            assert scene.told(job)[-1]["reason"] == "by_site"


def one_runs_and_one_waits(scene: Scene) -> tuple[str, str]:
    """Two database actions at a site with one database place: the job that has it, and the one that waits."""
    running = scene.offer(database_fields(scene))
    scene.runs(running)
    waiting = scene.offer(database_fields(scene))
    scene.agent.wait_until(lambda: at_step(scene, Step.STAGE) == [waiting])
    return running, waiting


def test_P24_a_drain_leaves_who_waits_for_a_database_place_and_an_abort_ends_him_too(
    open_scene: OpenScene,
) -> None:
    with open_scene(slots=2, database_slots=1) as scene:
        running, waiting = one_runs_and_one_waits(scene)
        say(state_of(scene.agent), Word.DRAIN)
        scene.agent.wait_until(lambda: scene.agent.said("left"))
        # Drain again, and a first TERM, are no second TERM.
        say(state_of(scene.agent), Word.DRAIN)
        scene.agent.terminate()
        time.sleep(0.5)
        assert scene.agent.process.poll() is None
        assert at_step(scene, Step.WAIT) == [running]
        say(state_of(scene.agent), Word.ABORT)
        assert scene.agent.process.wait(10) == 0
        assert scene.told(running)[-1]["reason"] == "by_site"
        assert scene.told(waiting)[-1]["reason"] == "by_site"


def test_P24_who_was_left_by_a_drain_goes_on_after_the_next_start(open_scene: OpenScene) -> None:
    with open_scene(slots=2, database_slots=1) as scene:
        running, waiting = one_runs_and_one_waits(scene)
        say(state_of(scene.agent), Word.DRAIN)
        scene.agent.wait_until(lambda: scene.agent.said("left"))
        scene.cancel(running)
        assert scene.agent.process.wait(10) == 0
        with running_agent(state_of(scene.agent).parent / "agent.toml") as again:
            scene.agent = again
            scene.runs(waiting)
            assert scene.claims(waiting) == 1


@pytest.mark.slow
def test_P24_an_abort_that_hangs_ends_all_the_same_and_says_so(open_scene: OpenScene) -> None:
    with open_scene(engine="stuck") as scene:
        job = scene.offer(scene.fields())
        scene.runs(job)
        with command(scene, "abort") as abort:
            _printed, complaint = abort.communicate(timeout=20)
        assert abort.returncode == 1
        assert "ended before everything was done" in complaint
        assert scene.agent.process.wait(5) == LEFT_BEHIND
        (attempt,) = scene.agent.journal.open_attempts()
        assert (attempt.job_id, attempt.cancel) == (job, "by_site")


@pytest.mark.parametrize("word", ["drain", "abort"])
def test_P24_without_an_agent_it_is_said_in_one_line(open_scene: OpenScene, word: str) -> None:
    with open_scene() as scene:
        say(state_of(scene.agent), Word.DRAIN)
        assert scene.agent.process.wait(10) == 0
        with command(scene, word) as told_nobody:
            printed, complaint = told_nobody.communicate(timeout=20)
        assert (told_nobody.returncode, printed) == (1, "")
        (line,) = complaint.splitlines()
        assert "no agent runs" in line


# --- status ---


def status(scene: Scene) -> str:
    with command(scene, "status") as asked:
        printed, complaint = asked.communicate(timeout=20)
    assert (asked.returncode, complaint) == (0, "")
    return printed


def overview(scene: Scene) -> str:
    return "\n".join(overview_lines(say(state_of(scene.agent), Word.STATUS), now=int(time.time())))


def test_status_says_what_the_agent_does_and_whether_the_controller_answers(open_scene: OpenScene) -> None:
    with open_scene(slots=3, database_slots=1) as scene:
        first = scene.offer(database_fields(scene))
        scene.runs(first)
        second = scene.offer(database_fields(scene))
        scene.agent.wait_until(lambda: at_step(scene, Step.STAGE) == [second])
        said = status(scene)
        assert said.startswith("The agent is working. It was started ")
        assert "Controller: it last answered " in said
        assert "Places: 2 of 3 taken; database actions have 1 of 1." in said
        assert f"extract (database)  {first}-1  running, since" in said
        assert f"extract (database)  {second}-1  waiting for a database place, since" in said
        assert "2 newest attempts (UTC):" in said

        paused = replies.answer(poll_answer(pause=True))
        broken = replies.raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        for reply, words in ((paused, "The agent is paused by the controller."), (broken, "; since then: ")):
            scene.controller.play("poll", *[reply] * 3)
            scene.agent.wait_until(lambda words=words: words in overview(scene))
            scene.agent.wait_until(lambda words=words: words not in overview(scene))

        say(state_of(scene.agent), Word.DRAIN)
        assert "The agent is draining." in status(scene)
        scene.agent.process.kill()
        scene.agent.process.wait()
        said = status(scene)
        assert said.startswith("The agent is not running; it ended all of a sudden.")
        assert f"{first}-1  not ended, at step wait" in said
