"""The transition table: complete, closed, and the page that is generated from it."""

from pathlib import Path

import pytest

from jobrunner.controller.jobs.diagram import document
from jobrunner.controller.jobs.transitions import (
    FINAL,
    REASONS,
    RULES,
    ImpossibleStep,
    Situation,
    State,
    check_new,
    check_step,
)
from jobrunner.controller.jobs.why import MEANING
from jobrunner.sync.vocabulary import Reason

pytestmark = pytest.mark.unit

EVERY = [Situation(state, reason) for state, reasons in REASONS.items() for reason in reasons]
DESIGN = {
    "pending": "waiting_for_dependencies, waiting_for_agent, waiting_for_capacity, paused, retrying",
    "running": "preparing, executing, collecting",
    "succeeded": "completed, reused",
    "failed": "nonzero_exit, out_of_memory, out_of_time, out_of_disk, outputs_missing, outputs_refused,"
    " dependency_failed, internal_error",
    "refused": "approval_missing, approval_expired, approval_invalid, repository_not_allowed,"
    " commit_not_found, commit_not_on_branch, tree_refused, pipeline_invalid, action_unknown,"
    " image_not_allowed, database_not_allowed, site_policy",
    "cancelled": "by_requester, by_controller, by_site",
}


def test_states_and_reasons_are_those_of_the_design() -> None:
    assert {state.value: list(reasons) for state, reasons in REASONS.items()} == {
        state: reasons.replace("\n", "").split(", ") for state, reasons in DESIGN.items()
    }


def test_every_reason_can_be_reached_and_is_named_by_a_rule() -> None:
    assert {after for rule in RULES for after in rule.after} == set(EVERY)


def test_every_reason_of_an_agent_is_a_reason_of_a_job() -> None:
    assert {reason.value for reason in Reason} <= {situation.reason for situation in EVERY}


def test_nothing_leads_out_of_a_final_state() -> None:
    for before in EVERY:
        for after in EVERY:
            if before.state in FINAL:
                with pytest.raises(ImpossibleStep):
                    check_step(before, after)


def test_a_job_begins_waiting_or_reused() -> None:
    allowed = []
    for situation in EVERY:
        try:
            check_new(situation)
        except ImpossibleStep:
            continue
        allowed.append(situation.reason)
    assert allowed == ["waiting_for_dependencies", "waiting_for_agent", "paused", "reused"]


def test_every_running_and_final_reason_has_its_sentence() -> None:
    assert set(MEANING) == {situation for situation in EVERY if situation.state is not State.PENDING}


def test_the_page_of_states_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "job-states.md"
    assert page.read_text(encoding="utf-8") == document()
