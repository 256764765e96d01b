"""What a canary that failed stops, what lets claims go on, and how the operator asks for it."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from jobrunner.agent import canary_watch, clock, operating
from jobrunner.agent.canary import Verdict
from jobrunner.agent.canary_findings import Tried
from jobrunner.agent.canary_record import GOOD_FOR_S
from jobrunner.agent.canary_watch import AGAIN_AFTER_FAILURE_S, CanaryWatch
from jobrunner.agent.control import ControlSocket
from jobrunner.agent.halts import Cause
from jobrunner.agent.overview import overview_lines
from jobrunner.agent.policy import load_site
from jobrunner.agent.service import Agent
from jobrunner.cli.agent import app
from jobrunner.sync.vocabulary import Runtime
from tests.agent.policies import write_site
from tests.evil_controller.idle_engine import IdleEngine

pytestmark = pytest.mark.unit

SMALL = {"limits__cores": 0.25, "limits__memory_mib": 64, "limits__disk_mib": 64, "limits__inodes": 2000}


def verdict(at: int, *, processes: bool = True, memory: bool = True) -> Verdict:
    tried = (
        Tried("processes", "start more processes than the limit", processes, "33"),
        Tried("memory", "take more memory than the limit", memory, "exit 0"),
    )
    return Verdict("runc", "sha256:" + "1" * 64, at, tried)


class Engineer:
    """An agent whose sandbox is as the test says, and the thread that watches it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.policy = write_site(folder, **SMALL)
        site = load_site(self.policy)
        for place in (site.high, site.medium, site.cache):
            place.mkdir()
        self.agent = Agent(site, IdleEngine())
        self.found = verdict(1)
        self.tried: list[bool] = []
        monkeypatch.setattr(canary_watch, "try_sandbox", self._try)
        canary = self.agent._fitness._canary
        assert canary is not None
        self.canary = canary
        self._thread = threading.Thread(target=canary.run)

    def _try(self, _site: object, _executor: object, *, may_trust_record: bool) -> Verdict:
        self.tried.append(may_trust_record)
        return self.found

    def start(self) -> None:
        self.canary.first()
        self._thread.start()

    def try_again(self, found: Verdict) -> None:
        before = len(self.tried)
        self.found = found
        self.agent._fitness.try_again()
        until(lambda: len(self.tried) == before + 1 and self.canary.verdict is found)

    def close(self) -> None:
        self.canary.stop()
        if self._thread.is_alive():
            self._thread.join(10)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def engineer(site_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engineer]:
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(default=str)],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    made = Engineer(site_folder, monkeypatch)
    yield made
    made.close()
    structlog.reset_defaults()


def test_claims_go_on_only_when_it_is_tried_again_and_holds(engineer: Engineer) -> None:
    agent = engineer.agent
    engineer.found = verdict(1, processes=False, memory=False)
    engineer.start()
    assert not agent._desk.accepting
    assert agent._shared.hello.runtimes == ()
    engineer.try_again(verdict(2, memory=False))
    assert not agent._desk.accepting
    engineer.try_again(verdict(3, memory=False))
    lines = list(overview_lines(agent._overview(), now=5))
    assert lines[0].startswith("The agent is halted.")
    assert "take more memory than the limit (exit 0)" in lines[2]
    assert "start more processes" not in lines[2]
    assert "The sandbox did not hold when it was tried 2 s ago." in lines
    # An incident for each thing that was found, and none for finding it once more.
    assert len(agent._journal.incidents(9)) == 2
    engineer.try_again(verdict(4))
    until(lambda: agent._desk.accepting)
    assert agent._shared.hello.runtimes == (Runtime.RUNC,)
    assert "The sandbox held when it was tried 1 s ago." in list(overview_lines(agent._overview(), now=5))
    # Only the first try, at the start, may take a record for it.
    assert engineer.tried == [True, False, False, False]


def test_the_sandbox_is_tried_at_the_start_before_anything_can_be_claimed(engineer: Engineer) -> None:
    engineer.found = verdict(1, memory=False)
    engineer.agent._fitness.begin()
    engineer.agent._fitness.end()
    engineer.agent._shared.finished.set()
    assert engineer.tried == [True]
    assert Cause.CANARY in engineer.agent._desk.halts


def test_a_canary_that_holds_ends_no_other_halt(engineer: Engineer) -> None:
    engineer.start()
    engineer.agent._fitness.distrust_engine("It made another container.")
    engineer.agent._desk.halt(Cause.DISK, "Full.")
    engineer.try_again(verdict(2))
    assert engineer.agent._desk.halts == {
        Cause.CONTAINER: "It made another container. Find out why, then start the agent again.",
        Cause.DISK: "Full.",
    }


@pytest.mark.parametrize("held", [True, False])
def test_it_is_tried_again_each_day_and_sooner_when_it_did_not_hold(
    engineer: Engineer, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    waits: list[float | None] = []

    class Wake(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 3:
                watch.stop()
            return False

    watch = CanaryWatch(engineer.agent._site, IdleEngine(), lambda _verdict: None)
    watch._wake = Wake()
    engineer.found = verdict(1, memory=held)
    watch.first()
    watch.run()
    assert waits == [GOOD_FOR_S if held else AGAIN_AFTER_FAILURE_S] * 3
    assert engineer.tried == [True, False, False]


def test_a_journal_that_cannot_be_written_does_not_end_the_watch(
    engineer: Engineer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engineer.start()

    def full(*_a: object, **_k: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(engineer.agent._journal, "note", full)
        engineer.try_again(verdict(2, memory=False))
    assert not engineer.agent._desk.accepting
    engineer.try_again(verdict(3))
    until(lambda: engineer.agent._desk.accepting)


def test_the_operator_asks_for_it_and_reads_what_was_found(
    engineer: Engineer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating, "_LOOK_EVERY_S", 0.01)
    command = CliRunner()
    said = command.invoke(app, ["canary", str(engineer.policy)])
    assert str(said.exception) == "no agent runs on this policy; start it first."
    engineer.found = verdict(1, memory=False)
    engineer.start()
    control = ControlSocket(engineer.agent._site.state, engineer.agent._answers())
    try:
        engineer.found = verdict(2, memory=False)
        said = command.invoke(app, ["canary", str(engineer.policy)])
        assert said.exit_code == 0
        first, second = said.stdout.splitlines()
        assert first == "The agent tries its sandbox."
        assert second.startswith("The sandbox of runtime runc cannot be trusted here: these walls")
        engineer.found = verdict(3)
        engineer.agent._desk.halt(Cause.DISK, "Full.")
        said = command.invoke(app, ["canary", str(engineer.policy)])
        assert said.stdout == "The agent tries its sandbox.\nEvery wall held.\nFull.\n"
        engineer.agent._desk.lift(Cause.DISK)
        # The clock: it was an hour ahead, and now it is right.
        now = clock.now()
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: now + 3600)
            engineer.agent._fitness._host.look()
        engineer.agent._fitness._host.look()
        assert Cause.CLOCK in engineer.agent._desk.halts
        said = command.invoke(app, ["trust-clock", str(engineer.policy)])
        assert said.stdout == "The agent takes the clock as it is.\n"
        assert engineer.agent._desk.accepting
    finally:
        control.close()
