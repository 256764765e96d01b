"""One job's life when things go wrong: nothing is lost, nothing runs beside its successor, no slot leaks.

The engine here does as the script of the test says and meets the contract of `executors/base.py`; journal,
stores and keys are real. The same with a real engine: tests/whole.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent import approving, clock, procedure, tries
from jobrunner.agent.approving import Approving
from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.halts import Cause
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import end
from jobrunner.agent.pins import Pins
from jobrunner.agent.policy import Site, load_site
from jobrunner.agent.procedure import Procedure, Tools
from jobrunner.agent.report import Reporter
from jobrunner.agent.results import Results
from jobrunner.agent.reusable import none_allowed
from jobrunner.executors.base import ActionRun, ContainerLost, EngineError, Exit, Limits, SandboxRefused
from jobrunner.privacy import frames
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.collect import collect
from jobrunner.privacy.confined_process import Launcher
from jobrunner.privacy.conversation import Conversation
from jobrunner.privacy.runs import read_run
from jobrunner.study import Mirrors
from jobrunner.sync.identity import job_id, new_id
from jobrunner.sync.messages import Event, Offer
from jobrunner.sync.vocabulary import Reason, Stage
from tests.agent.policies import write_site

pytestmark = pytest.mark.unit

REPO = "https://example.org/org/study"
DONE = Exit(status=0, out_of_memory=False, out_of_time=False, out_of_disk=False, started=10, finished=20)


class ScriptedEngine:
    """Answers as told. `calls` are the names of its calls, in order; `trouble` raises instead."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.calls: list[str] = []
        self.trouble: dict[str, list[Exception]] = {}
        self.exit = DONE

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.trouble.get(name):
            raise self.trouble[name].pop(0)

    def image_present(self, image_id: str) -> bool:
        return bool(image_id)

    def prepare(self, run: ActionRun) -> None:
        self._called("prepare")

    def start(self, run: ActionRun) -> None:
        self._called("start")

    def wait(self, run: ActionRun, deadline_s: float | None = None) -> Exit:
        self._called("wait")
        return self.exit

    def stop(self, run: ActionRun) -> None:
        self._called("stop")

    def save_log(self, run: ActionRun, destination: BinaryIO, limit: int = 0) -> None:
        destination.write(b"said something\n")

    @contextmanager
    def open_outputs(self, run: ActionRun) -> Iterator[int]:
        self._called("open_outputs")
        fd = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def clean_up(self, run: ActionRun) -> None:
        self._called("clean_up")


class Bench:
    """A procedure on a real journal and real stores."""

    def __init__(self, tmp: Path, monkeypatch: pytest.MonkeyPatch, **policy: Any) -> None:
        self.site: Site = load_site(write_site(tmp / "site", **policy))
        for folder in (self.site.high / "staging", self.site.medium, self.site.state, self.site.cache):
            folder.mkdir(parents=True)
        self.journal = Journal(self.site.state / "agent.db")
        self.work = tmp / "work"
        (self.work / "o").mkdir(parents=True)
        for folder in (self.work, self.work / "o"):
            folder.chmod(0o777)
        self.engine = ScriptedEngine(self.work)
        self.launcher = Launcher()
        self.areas = Areas(self.site.high, self.site.medium)
        self.reporter = Reporter(Ed25519PrivateKey.generate(), 1)
        rules = self.site.git_rules()
        self.results = Results(self.areas, self.engine, self.launcher, "north")  # type: ignore[arg-type]
        self.halted: list[str] = []
        self.tools = Tools(
            site=self.site,
            journal=self.journal,
            desk=Desk(2),
            reporter=self.reporter,
            approving=Approving(self.site, self.journal),
            hook=None,
            executor=self.engine,  # type: ignore[arg-type]
            pins=Pins(Mirrors(self.site.cache / "mirrors", rules)),
            find_source=none_allowed,
            git_rules=rules,
            limits=Limits(),
            results=self.results,
            told=lambda _urgent: None,
            halt=self.halted.append,
        )
        # Approvals have tests of their own; here every one counts.
        monkeypatch.setattr(approving, "check_approval", lambda *_a, **_k: (None, "0" * 64))
        monkeypatch.setattr(tries, "_LONGEST_PAUSE_S", 0.0)

    def attempt(self, step: Step, branch: str = "main", **facts: Any) -> Attempt:
        """An attempt that stands at this step."""
        offer = Offer(
            request_id=new_id(), project="study", repo=REPO, branch=branch, commit="a" * 40, action="act",
            approval=None,
        )  # fmt: skip
        job = job_id(offer.request_id, offer.action)
        self.journal.intend_claim(job, offer)
        first = self.reporter.stage(job, 1, Stage.PREPARING)
        self.journal.accepted(job, 1, Accepted(1, "t" * 40, 60, {"slot": 0}), first)
        given = {
            "image_id": "sha256:" + "a" * 64, "entrypoint": ["/x"], "argv": ["y"], "needs": [],
            "patterns": [["o/*.csv", "highly_sensitive"]], "actions": ["act"], "tree": "t",
            "tree_folder": "/tmp/t", "environment": {}, "inputs": [], "begun": 9, "started": 10,
            "finished": 20, "status": 0, "out_of_memory": False, "out_of_time": False, "out_of_disk": False,
        }  # fmt: skip
        self.journal.advance(self.read(job), step, facts=given | facts)
        return self.read(job)

    def read(self, job: str) -> Attempt:
        found = self.journal.get(job, 1)
        assert found is not None
        return found

    def run(self, attempt: Attempt) -> Attempt:
        Procedure(self.tools).run(*attempt.key)
        return self.read(attempt.job_id)

    def told(self) -> list[Event]:
        """The ends that wait in the outbox."""
        with self.journal.transaction() as connection:
            rows = connection.execute("SELECT body FROM outbox WHERE state = 'waiting' ORDER BY number")
            events = [Event.model_validate_json(row[0]) for row in rows]
        return [event for event in events if event.stage is Stage.ENDED]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # The console form of a traceback takes half a second each.
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=str)])
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.launcher.stop()
    structlog.reset_defaults()


def test_an_attempt_goes_from_its_step_to_its_end(bench: Bench) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    after = bench.run(bench.attempt(Step.START))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.COMPLETED)
    assert bench.engine.calls == ["prepare", "start", "wait", "open_outputs", "clean_up"]
    assert [event.reason for event in bench.told()] == [Reason.COMPLETED]


def test_O01_a_name_that_is_no_text_ends_its_own_attempt_and_no_more(bench: Bench) -> None:
    (bench.work / os.fsdecode(b"o/\xff.csv")).write_text("x")
    after = bench.run(bench.attempt(Step.COLLECT))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.OUTPUTS_REFUSED)
    assert "clean_up" in bench.engine.calls
    assert bench.halted == []


def test_O01_a_look_alike_that_is_no_text_is_shown_and_not_fatal(bench: Bench) -> None:
    (bench.work / os.fsdecode(b"o/a\xff.cs")).write_text("x")
    after = bench.run(bench.attempt(Step.COLLECT))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.OUTPUTS_MISSING)


def test_P19_an_end_with_thousands_of_missing_outputs_is_told_in_short(bench: Bench) -> None:
    patterns = [[f"o/{'é' * 250}{number}.csv", "highly_sensitive"] for number in range(2_000)]
    attempt = bench.attempt(Step.COLLECT, patterns=patterns)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.OUTPUTS_MISSING
    assert len(after.outcome.message.encode()) < 16 * 1024 + 100
    (log,) = (bench.site.high / "runs" / attempt.job_id).rglob("log")
    assert log.stat().st_size < 20 * 1024


@pytest.mark.parametrize(
    ("deaths", "reason"), [(1, Reason.COMPLETED), (2, Reason.OUTPUTS_REFUSED)], ids=["once", "twice"]
)
def test_O15_a_collector_that_dies_twice_on_the_same_files_refuses_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, deaths: int, reason: Reason
) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    ended = [frames.BrokenConversation("the collector ended early")] * deaths
    run = Conversation.run

    def shaky(one: Conversation, connection: Any) -> None:
        run(one, connection)
        if ended:
            raise ended.pop()

    monkeypatch.setattr(Conversation, "run", shaky)
    after = bench.run(bench.attempt(Step.COLLECT))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, reason)
    assert bench.engine.calls.count("open_outputs") == deaths + (reason is Reason.COMPLETED)


def test_P19_an_end_whose_log_cannot_be_kept_is_still_an_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.results, "keep_failure", full)
    after = bench.run(bench.attempt(Step.COLLECT, status=1))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.NONZERO_EXIT)


def test_P04_a_restart_of_the_machine_costs_no_result_that_is_on_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    bench.results.collect(attempt, procedure.action_run(bench.site, Limits(), attempt), allowed=lambda: None)
    bench.journal.advance(attempt, Step.DELIVER)
    monkeypatch.setattr(clock, "boot_id", lambda: "after the power cut")
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED
    assert [event.reason for event in bench.told()] == [Reason.COMPLETED]


def test_an_approval_that_lapsed_meanwhile_is_found_before_anything_is_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lapsed(*_arguments: Any, **_named: Any) -> None:
        raise end(Reason.APPROVAL_EXPIRED, "expired", "Over.")

    monkeypatch.setattr(approving, "check_approval", lapsed)
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.APPROVAL_EXPIRED, "expired")
    assert not list((bench.site.high / "runs" / attempt.job_id).rglob("a.csv"))


def test_an_approval_that_lapsed_meanwhile_starts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lapsed(*_arguments: Any, **_named: Any) -> None:
        raise end(Reason.APPROVAL_EXPIRED, "expired", "Over.")

    monkeypatch.setattr(approving, "check_approval", lapsed)
    after = bench.run(bench.attempt(Step.START))
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.APPROVAL_EXPIRED, "expired")
    assert "start" not in bench.engine.calls


@pytest.mark.parametrize(("projects", "detail"), [(["other"], "unknown_project"), (["study", "other"], None)])
def test_a_project_that_the_site_does_not_name_is_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, projects: list[str], detail: str | None
) -> None:
    made = Bench(tmp_path, monkeypatch, projects=projects, git__allowed=[REPO])
    looked: list[Offer] = []

    def missing(offer: Offer, *_arguments: Any, **_named: Any) -> None:
        looked.append(offer)
        raise end(Reason.APPROVAL_MISSING, "", "None.")

    monkeypatch.setattr(approving, "check_approval", missing)
    after = made.run(made.attempt(Step.VERIFY))
    assert after.outcome is not None
    if detail is None:
        assert (after.outcome.reason, len(looked)) == (Reason.APPROVAL_MISSING, 1)
    else:
        assert (after.outcome.reason, after.outcome.detail, looked) == (Reason.SITE_POLICY, detail, [])
    made.launcher.stop()


def test_P23_a_restart_of_the_machine_while_it_ran_is_lost_and_not_the_studys_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = bench.attempt(Step.WAIT)
    monkeypatch.setattr(clock, "boot_id", lambda: "after the power cut")
    after = bench.run(attempt)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.INTERNAL_ERROR, "lost")


def test_P03_a_superseded_attempt_starts_nothing_and_tells_nothing(bench: Bench) -> None:
    attempt = bench.attempt(Step.START)
    bench.journal.supersede(*attempt.key)
    after = bench.run(attempt)
    assert after.step is Step.DONE
    assert "start" not in bench.engine.calls
    assert bench.told() == []


def test_P03_a_whole_result_that_the_controller_calls_stale_is_an_incident(bench: Bench) -> None:
    attempt = bench.attempt(Step.DELIVER)
    bench.journal.supersede(*attempt.key)
    assert bench.run(attempt).step is Step.DONE
    [incident] = bench.journal.incidents(10)
    assert incident[1:5] == (*attempt.key, "site_policy", "malformed")
    assert bench.told() == []


def test_P04_a_finished_run_stays_as_it_is_though_the_journal_fails_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.work / "o" / "a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    advance, failures = Journal.advance, [OSError(28, "No space left on device")]
    logs: list[bytes] = []

    def fragile(journal: Journal, at: Attempt, step: Step, **more: Any) -> None:
        if step is Step.DELIVER and failures and "facts" not in more:
            logs.append(next((bench.site.high / "runs" / at.job_id).rglob("log")).read_bytes())
            raise failures.pop()
        advance(journal, at, step, **more)

    monkeypatch.setattr(Journal, "advance", fragile)
    monkeypatch.setattr(bench.engine, "log", b"said by the job\n", raising=False)
    after = bench.run(attempt)
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.COMPLETED)
    (log,) = (bench.site.high / "runs" / attempt.job_id).rglob("log")
    assert logs == [log.read_bytes()]
    assert bench.engine.calls.count("open_outputs") == 1


def test_P03_what_was_published_has_succeeded_though_it_is_called_stale_before_that_is_told(
    bench: Bench,
) -> None:
    attempt = bench.attempt(Step.DELIVER, published=True)
    bench.journal.supersede(*attempt.key)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED
    assert (bench.told(), bench.journal.incidents(1)) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 1])
def test_O11_an_end_is_told_at_a_multiple_of_the_grain_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    bench = Bench(tmp_path, monkeypatch, time_grain_s=4)
    moments: list[float] = []
    bench.tools = replace(bench.tools, told=lambda _urgent: moments.append(time.time()))
    (bench.work / "o" / "a.csv").write_text("x")
    while not 1.2 < time.time() % 4 < 1.6:
        time.sleep(0.1)
    try:
        bench.run(bench.attempt(Step.COLLECT, status=status))
    finally:
        bench.launcher.stop()
    [moment] = moments
    assert moment % 4 < 0.9
    assert len(bench.told()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("reason", "cuts_it_short"), [(Reason.BY_CONTROLLER, False), (Reason.BY_SITE, True)])
def test_O11_a_cancel_from_outside_does_not_lift_the_grain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: Reason, cuts_it_short: bool
) -> None:
    bench = Bench(tmp_path, monkeypatch, time_grain_s=4)
    moments: list[float] = []
    bench.tools = replace(bench.tools, told=lambda _urgent: moments.append(time.time()))
    while not 1.2 < time.time() % 4 < 1.6:
        time.sleep(0.1)
    try:
        cancelled_while(bench, bench.attempt(Step.COLLECT, status=1), lambda: True, reason)
    finally:
        bench.launcher.stop()
    [moment] = moments
    assert (moment % 4 > 1.2) == cuts_it_short


def test_P23_while_the_engine_is_away_nothing_is_told_and_nothing_is_given_up(bench: Bench) -> None:
    bench.engine.trouble = {"wait": [EngineError("away")] * 20, "clean_up": [EngineError("away")] * 20}
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    after = bench.run(bench.attempt(Step.WAIT))
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.COMPLETED)
    assert bench.engine.calls.count("wait") == 21
    assert bench.engine.calls.count("clean_up") == 21


def test_a_failure_is_not_told_before_the_container_is_certainly_gone(bench: Bench) -> None:
    attempt = bench.attempt(Step.WAIT)
    bench.engine.trouble = {"stop": [EngineError("away")] * 3}
    told_when_stopped: list[int] = []
    stop = bench.engine.stop

    def watched(run: ActionRun) -> None:
        told_when_stopped.append(len(bench.told()))
        stop(run)

    bench.engine.stop = watched  # type: ignore[method-assign]
    bench.journal.wish_cancel(*attempt.key, Reason.BY_REQUESTER)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.BY_REQUESTER
    assert told_when_stopped == [0, 0, 0, 0]
    assert len(bench.told()) == 1


def test_a_lost_container_is_lost_at_once(bench: Bench) -> None:
    bench.engine.trouble = {"wait": [ContainerLost("gone")]}
    after = bench.run(bench.attempt(Step.WAIT))
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.INTERNAL_ERROR, "lost")
    assert bench.engine.calls.count("wait") == 1


@pytest.mark.parametrize("step", [Step.START, Step.COLLECT])
def test_P19_a_step_that_always_raises_ends_as_our_error(bench: Bench, step: Step) -> None:
    name = {Step.START: "prepare", Step.COLLECT: "open_outputs"}[step]
    bench.engine.trouble = {name: [RuntimeError("bug")] * 1000}
    after = bench.run(bench.attempt(step))
    assert after.step is Step.DONE
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.INTERNAL_ERROR, "lost")


@pytest.mark.slow
def test_a_full_disk_while_collecting_passes(bench: Bench) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    bench.engine.trouble = {"open_outputs": [OSError(28, "No space left on device")] * 30}
    after = bench.run(bench.attempt(Step.COLLECT))
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED


def test_publishing_is_tried_until_it_is_through(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    publish: Callable[[Attempt], None] = bench.results.publish
    failures = iter([RuntimeError("once"), OSError(5, "twice"), None])

    def shaky(one: Attempt) -> None:
        problem = next(failures)
        if problem is not None:
            raise problem
        publish(one)

    monkeypatch.setattr(bench.results, "publish", shaky)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED


def always(bench: Bench, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> Attempt:
    """An attempt that is collected, and whose publishing fails for ever."""
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    bench.results.collect(attempt, procedure.action_run(bench.site, Limits(), attempt), allowed=lambda: None)
    bench.journal.advance(attempt, Step.DELIVER)

    def broken(*_arguments: Any, **_named: Any) -> None:
        raise problem

    monkeypatch.setattr(bench.areas, "publish", broken)
    return attempt


@pytest.mark.parametrize(
    "problem",
    [OSError(errno.ENAMETOOLONG, "too long"), NotADirectoryError(errno.ENOTDIR, "no folder"), KeyError("x")],
)
def test_P19_publishing_that_can_never_work_ends_as_our_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    attempt = always(bench, monkeypatch, problem)
    after = bench.run(attempt)
    assert after.step is Step.DONE
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.INTERNAL_ERROR, "lost")
    assert f"runs/{attempt.job_id}/{attempt.number}" in after.outcome.message
    # Nothing that is finished is lost.
    run = read_run(bench.site.high, *attempt.key)
    assert run.succeeded
    assert (run.files / "o/a.csv").read_text() == "x,n\na,1\n"


def test_P19_a_cancel_gets_through_to_publishing_that_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = always(bench, monkeypatch, OSError(errno.EIO, "broken disk"))
    tried = threading.Event()
    broken = bench.areas.publish

    def seen(*arguments: Any, **named: Any) -> bool:
        tried.set()
        return broken(*arguments, **named)

    monkeypatch.setattr(bench.areas, "publish", seen)
    after, _took = cancelled_while(bench, attempt, tried.is_set)
    assert (after.step, after.outcome and after.outcome.reason) == (Step.DONE, Reason.BY_REQUESTER)
    assert read_run(bench.site.high, *attempt.key).succeeded


def test_P19_twin_a_cancel_that_comes_too_late_costs_no_result(bench: Bench) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    bench.results.collect(attempt, procedure.action_run(bench.site, Limits(), attempt), allowed=lambda: None)
    bench.journal.advance(attempt, Step.DELIVER)
    bench.journal.wish_cancel(*attempt.key, Reason.BY_REQUESTER)
    after = bench.run(attempt)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def cancelled_while(
    bench: Bench, attempt: Attempt, when: Callable[[], bool], reason: Reason = Reason.BY_REQUESTER
) -> tuple[Attempt, float]:
    """Run the attempt in a thread of its own, cancel it once `when` holds; its end and how long that took."""
    made = Procedure(bench.tools)
    thread = threading.Thread(target=made.run, args=attempt.key, daemon=True)
    thread.start()
    until(when)
    began = time.monotonic()
    bench.journal.wish_cancel(*attempt.key, reason)
    made.stop(*attempt.key)
    thread.join(10)
    assert not thread.is_alive()
    return bench.read(attempt.job_id), time.monotonic() - began


def test_P21_a_cancel_ends_the_pause_before_another_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "_LONGEST_PAUSE_S", 60.0)
    bench.engine.trouble = {"prepare": [EngineError("away")] * 3}
    attempt = bench.attempt(Step.START)
    after, took = cancelled_while(bench, attempt, lambda: "prepare" in bench.engine.calls)
    assert took < 1
    assert after.outcome is not None
    assert after.outcome.reason is Reason.BY_REQUESTER
    assert "start" not in bench.engine.calls


def test_P21_a_cancel_while_outputs_are_collected_ends_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(*_arguments: Any, still_wanted: Callable[[], object], **_named: Any) -> None:
        begun.set()
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            still_wanted()
            time.sleep(0.01)

    monkeypatch.setattr("jobrunner.agent.results.collect", endless)
    after, took = cancelled_while(bench, bench.attempt(Step.COLLECT), begun.is_set)
    assert took < 5
    assert after.outcome is not None
    assert (after.step, after.outcome.reason) == (Step.DONE, Reason.BY_REQUESTER)


def test_P21_twin_what_is_collected_when_a_newer_attempt_exists_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(*arguments: Any, **named: Any) -> Any:
        begun.set()
        assert release.wait(10)
        return collect(*arguments, **named)

    monkeypatch.setattr("jobrunner.agent.results.collect", slow)
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    attempt = bench.attempt(Step.COLLECT)
    made = Procedure(bench.tools)
    thread = threading.Thread(target=made.run, args=attempt.key, daemon=True)
    thread.start()
    until(begun.is_set)
    bench.journal.supersede(*attempt.key)
    made.stop(*attempt.key)
    release.set()
    thread.join(10)
    assert read_run(bench.site.high, *attempt.key).succeeded
    assert bench.told() == []


def held(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """A call of the engine that goes on when the event is set."""
    release = threading.Event()
    act = getattr(bench.engine, name)

    def slow(run: ActionRun) -> None:
        act(run)
        assert release.wait(10)

    monkeypatch.setattr(bench.engine, name, slow)
    return release


def cancel_during(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Cancel an attempt while a call of the engine is going on; it ends as cancelled in any case."""
    release = held(bench, monkeypatch, name)
    attempt = bench.attempt(Step.START)
    made = Procedure(bench.tools)
    thread = threading.Thread(target=made.run, args=attempt.key, daemon=True)
    thread.start()
    until(lambda: name in bench.engine.calls)
    bench.journal.wish_cancel(*attempt.key, Reason.BY_REQUESTER)
    made.stop(*attempt.key)
    release.set()
    thread.join(10)
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.step, after.outcome.reason) == (Step.DONE, Reason.BY_REQUESTER)


def test_P21_a_cancel_while_the_container_is_made_keeps_it_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel_during(bench, monkeypatch, "prepare")
    assert "start" not in bench.engine.calls


def test_P21_a_container_that_starts_after_the_stop_has_looked_is_stopped_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel_during(bench, monkeypatch, "start")
    assert bench.engine.calls == ["prepare", "start", "stop", "stop", "clean_up"]


def test_P21_a_cancel_that_the_engine_did_not_hear_is_said_again(bench: Bench) -> None:
    dead = threading.Event()
    stops: list[int] = []

    def wait(run: ActionRun, deadline_s: float | None = None) -> Exit:
        bench.engine.calls.append("wait")
        assert dead.wait(10)
        return DONE

    def stop(run: ActionRun) -> None:
        stops.append(len(stops))
        if len(stops) < 3:
            raise EngineError("away")
        dead.set()

    bench.engine.wait = wait  # type: ignore[method-assign]
    bench.engine.stop = stop  # type: ignore[method-assign]
    after, _took = cancelled_while(bench, bench.attempt(Step.WAIT), lambda: "wait" in bench.engine.calls)
    assert len(stops) >= 3
    assert after.outcome is not None
    assert after.outcome.reason is Reason.BY_REQUESTER


def test_a_cancel_that_cannot_be_carried_out_yet_does_not_spin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "_LONGEST_PAUSE_S", 0.05)
    bench.engine.trouble = {"wait": [EngineError("away")] * 100, "stop": [EngineError("away")] * 12}
    attempt = bench.attempt(Step.WAIT)
    began = time.monotonic()
    after, _took = cancelled_while(bench, attempt, lambda: "wait" in bench.engine.calls)
    assert time.monotonic() - began > 0.2
    assert bench.engine.calls.count("stop") < 20
    assert after.outcome is not None
    assert after.outcome.reason is Reason.BY_REQUESTER


def test_without_a_database_any_more_a_database_action_is_refused(bench: Bench) -> None:
    after = bench.run(bench.attempt(Step.STAGE, dataset="patients"))
    assert after.outcome is not None
    assert after.outcome.reason is Reason.DATABASE_NOT_ALLOWED
    assert bench.engine.calls == ["clean_up"]


def test_who_kept_others_from_starting_for_too_long_is_tried_again_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procedure, "_DATABASE_PATIENCE_S", 0.1)
    desk = Desk(2, 1)
    desk.occupy(0)
    desk.occupy(1, database=True)
    bench.tools = replace(bench.tools, desk=desk)
    after = bench.run(bench.attempt(Step.STAGE, dataset="patients"))
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.INTERNAL_ERROR, "database")


def test_who_finds_no_room_waits_for_those_who_are_cleaned_up_and_asks_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_room = SandboxRefused("disk_low", "a disk is asked for, but there is no room")
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    bench.engine.trouble = {"prepare": [no_room, no_room]}
    alone = bench.run(bench.attempt(Step.START))
    assert alone.outcome is not None
    assert (alone.outcome.reason, alone.outcome.detail) == (Reason.INTERNAL_ERROR, "disk_low")
    bench.engine.trouble = {"prepare": [no_room]}
    bench.tools.desk.give_back(0)
    bench.tools.desk.occupy(1)
    bench.tools.desk.leave(1)
    gone = threading.Timer(0.1, bench.tools.desk.give_back, (1,))
    gone.start()
    after = bench.run(bench.attempt(Step.START))
    gone.join()
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED


def test_one_that_went_while_room_was_asked_for_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    bench.tools.desk.occupy(1)
    bench.tools.desk.leave(1)
    prepare = bench.engine.prepare

    def last_one_goes(run: ActionRun) -> None:
        bench.tools.desk.give_back(1)
        prepare(run)

    monkeypatch.setattr(bench.engine, "prepare", last_one_goes)
    bench.engine.trouble = {"prepare": [SandboxRefused("disk_low", "there is no room")]}
    after = bench.run(bench.attempt(Step.START))
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED


def test_after_a_wait_for_room_all_is_looked_at_again(bench: Bench) -> None:
    bench.engine.trouble = {"prepare": [SandboxRefused("disk_low", "there is no room")]}
    bench.tools.desk.occupy(1)
    bench.tools.desk.leave(1)

    def halt_and_go() -> None:
        bench.tools.desk.halt(Cause.CANARY, "The sandbox does not hold.")
        bench.tools.desk.give_back(1)

    gone = threading.Timer(0.1, halt_and_go)
    gone.start()
    after = bench.run(bench.attempt(Step.START))
    gone.join()
    assert after.outcome is not None
    assert after.outcome.reason is not Reason.COMPLETED
    assert "start" not in bench.engine.calls


def test_a_database_action_whose_inputs_could_not_be_staged_at_first_keeps_its_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.work / "o/a.csv").write_text("x,n\na,1\n")
    bench.tools = replace(bench.tools, desk=Desk(2, 1))
    stage = procedure.stage_inputs
    trouble = [OSError(28, "No space left on device")]

    def shaky(*arguments: Any) -> Any:
        if trouble:
            raise trouble.pop()
        return stage(*arguments)

    monkeypatch.setattr(procedure, "stage_inputs", shaky)
    attempt = bench.attempt(Step.STAGE, dataset="patients")
    thread = threading.Thread(target=Procedure(bench.tools).run, args=attempt.key, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert after.outcome.reason is Reason.COMPLETED
    assert bench.tools.desk.places().database_taken == 0, "it is another's when nothing of this one runs"
