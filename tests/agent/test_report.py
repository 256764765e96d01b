"""What the agent tells: a closed class, coarse seconds, nothing of the inside (O11, unit part)."""

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.agent.clock import coarse
from jobrunner.agent.outcome import DETAILS, Outcome, end
from jobrunner.agent.report import Reporter
from jobrunner.sync.messages import Event
from jobrunner.sync.signing import public_key_text, signature_fits
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason, Stage

pytestmark = pytest.mark.unit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
JOB = "a" * 26
outcomes = st.sampled_from(
    [(exit_class, reason) for exit_class, reasons in REASONS_OF_EXIT.items() for reason in sorted(reasons)]
)


@given(st.integers(0, 2**34), st.sampled_from([1, 2, 60, 3600]))
def test_a_coarse_second_is_a_multiple_of_the_grain_and_never_later(second: int, grain: int) -> None:
    rounded = coarse(second, grain)
    assert rounded % grain == 0
    assert second - grain < rounded <= second


@given(st.integers(0, 2**34), st.integers(0, 2**34), st.sampled_from([1, 60, 3600]), outcomes)
def test_all_times_that_leave_are_coarse(
    started: int, finished: int, grain: int, ending: tuple[ExitClass, Reason]
) -> None:
    reporter = Reporter(KEY, grain)
    ended = reporter.ended(JOB, 1, Outcome(*ending), started=started, finished=finished)
    running = reporter.stage(JOB, 1, Stage.EXECUTING, started)
    assert ended.finished == coarse(finished, grain)
    assert ended.started == running.started == coarse(started, grain)


def test_times_that_the_reporter_takes_itself_are_coarse_too() -> None:
    reporter = Reporter(KEY, 3600)
    for event in (
        reporter.stage(JOB, 1, Stage.PREPARING),
        reporter.ended(JOB, 1, Outcome(ExitClass.REFUSED, Reason.SITE_POLICY), started=None),
    ):
        for second in (event.started, event.finished):
            assert second is None or (second % 3600 == 0 and time.time() - 3601 < second <= time.time())


@given(st.text(), st.text(), outcomes)
def test_details_and_messages_stay_inside(
    detail: str, message: str, ending: tuple[ExitClass, Reason]
) -> None:
    reporter = Reporter(KEY, 1)
    told = reporter.ended(JOB, 1, Outcome(*ending, detail, message), started=1, finished=2)
    same = reporter.ended(JOB, 1, Outcome(*ending), started=1, finished=2)

    def plain(event: Event) -> dict[str, Any]:
        return event.model_dump(exclude={"event_id", "signature"})

    assert plain(told) == plain(same)
    assert set(told.model_dump()) == {
        "event_id", "job_id", "attempt", "stage", "exit_class", "reason", "started", "finished", "signature",
    }  # fmt: skip


@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.EXECUTING, Stage.COLLECTING])
def test_events_are_signed_and_each_has_its_own_id(stage: Stage) -> None:
    reporter = Reporter(KEY, 1)
    first, second = reporter.stage(JOB, 1, stage, 5), reporter.stage(JOB, 1, stage, 5)
    assert first.event_id != second.event_id
    assert signature_fits(public_key_text(KEY), first)
    assert (first.reason.value, first.exit_class, first.finished) == (stage.value, None, None)


@pytest.mark.parametrize(
    "reason", [reason for reasons in REASONS_OF_EXIT.values() for reason in sorted(reasons)]
)
def test_an_end_has_the_exit_class_of_its_reason(reason: Reason) -> None:
    detail = min(DETAILS.get(reason) or [""])
    outcome = end(reason, detail, "message").outcome
    assert reason in REASONS_OF_EXIT[outcome.exit_class]
    assert (outcome.detail, outcome.message) == (detail, "message")


@pytest.mark.parametrize("reason", [Reason.PREPARING, Reason.EXECUTING, Reason.COLLECTING])
def test_nothing_ends_with_the_reason_of_a_stage(reason: Reason) -> None:
    with pytest.raises(KeyError):
        end(reason)
