"""The agent as a whole, where its threads meet."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.policy import load_site
from jobrunner.agent.service import Agent
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.vocabulary import Stage
from tests.agent.offers import offer
from tests.agent.policies import write_site
from tests.evil_controller.idle_engine import IdleEngine

pytestmark = pytest.mark.unit

SMALL: dict[str, Any] = {
    "limits__cores": 0.25, "limits__memory_mib": 64, "limits__disk_mib": 64, "limits__inodes": 2000,
    "limits__slots": 2,
}  # fmt: skip


@pytest.fixture
def agent(site_folder: Path) -> Iterator[Agent]:
    yield Agent(load_site(write_site(site_folder, **SMALL)), IdleEngine())
    structlog.reset_defaults()


def claimed(agent: Agent) -> Attempt:
    """An attempt that stands at its first step, on slot 0."""
    made = offer()
    job = job_id_of(made.request_id, made.action)
    agent._journal.intend_claim(job, made)
    event = agent._shared.first_event(job, 1)
    assert event.stage is Stage.PREPARING
    agent._journal.accepted(job, 1, Accepted(1, "t" * 40, 60, {"slot": 0}), event)
    agent._desk.occupy(0)
    return step_of(agent, (job, 1))


def step_of(agent: Agent, key: tuple[str, int]) -> Attempt:
    found = agent._journal.get(*key)
    assert found is not None
    return found


def test_an_attempt_that_gets_no_thread_keeps_its_slot_and_holds_up_no_drain(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = claimed(agent)

    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(threading.Thread, "start", no_more)
        agent._start_worker(attempt)
    assert [entry["event"] for entry in logs] == ["no_worker"]
    assert agent._desk.places().taken == 1
    drained = threading.Thread(target=agent._wait_for_workers, daemon=True)
    drained.start()
    drained.join(5)
    assert not drained.is_alive()
    # Nothing is in the way of who works on it later.
    agent._start_worker(attempt)
    agent._wait_for_workers()
    assert step_of(agent, attempt.key).step is Step.DONE
