"""One plain sentence for each job: why it waits, what it does, or what its end means."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobrunner.controller.jobs.transitions import State, Wait
from jobrunner.controller.jobs.why_not_run import clock

_AWAY_AFTER: Final = timedelta(minutes=2)

MEANING: Final[dict[tuple[State, str], str]] = {
    (State.RUNNING, "preparing"): "The data centre checks the request and prepares the files.",
    (State.RUNNING, "executing"): "The code runs.",
    (State.RUNNING, "collecting"): "The code has ended; its outputs are collected and checked.",
    (State.SUCCEEDED, "completed"): "It ran to its end and made all its outputs.",
    (State.SUCCEEDED, "reused"): "It did not run again: an earlier successful run serves.",
    (
        State.FAILED,
        "nonzero_exit",
    ): "The code ended with an error; its log inside the data centre says which.",
    (State.FAILED, "out_of_memory"): "The code needed more memory than the data centre allows.",
    (State.FAILED, "out_of_time"): "The code ran longer than the data centre allows.",
    (State.FAILED, "out_of_disk"): "The code wrote more than the data centre allows.",
    (State.FAILED, "outputs_missing"): "The code ended without making every output that project.yaml names.",
    (State.FAILED, "outputs_refused"): "An output is of a kind that may not be kept, for example a link.",
    (State.FAILED, "dependency_failed"): "It did not run: an action that it needs did not succeed.",
    (
        State.FAILED,
        "internal_error",
    ): "The data centre could not run it, for a reason that is not the study's.",
    (State.REFUSED, "approval_missing"): "Refused: the data centre has no approval for this.",
    (State.REFUSED, "approval_expired"): "Refused: the approval is not valid at this time.",
    (
        State.REFUSED,
        "approval_invalid",
    ): "Refused: the approval does not cover this, or its signature does not count.",
    (State.REFUSED, "repository_not_allowed"): "Refused: the data centre takes no code from this repository.",
    (State.REFUSED, "commit_not_found"): "Refused: the repository has no such branch or commit.",
    (State.REFUSED, "commit_not_on_branch"): "Refused: the commit is not on the branch that was named.",
    (
        State.REFUSED,
        "tree_refused",
    ): "Refused: the repository holds files that the data centre does not take.",
    (State.REFUSED, "pipeline_invalid"): "Refused: project.yaml has errors.",
    (State.REFUSED, "action_unknown"): "Refused: project.yaml has no such action.",
    (State.REFUSED, "image_not_allowed"): "Refused: the data centre does not allow this action's runtime.",
    (
        State.REFUSED,
        "database_not_allowed",
    ): "Refused: the approval or the data centre does not allow the database.",
    (State.REFUSED, "site_policy"): "Refused: the data centre's own rules do not allow it.",
    (State.CANCELLED, "by_requester"): "It was cancelled by the project.",
    (State.CANCELLED, "by_controller"): "It was cancelled by the people who run this service.",
    (State.CANCELLED, "by_site"): "It was stopped by the data centre.",
}
"""What each running or final reason means."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is known about a pending job's wait.

    `unmet` are the actions it waits for, or the first of them, and `more_unmet` counts the others; `tries`
    counts the attempts so far. `closed`: the agent said last that it takes nothing new. Why is not told: it
    may drain, or something at its site is not in order.
    """

    reason: Wait
    backend: str
    paused: bool
    last_seen_at: datetime | None
    unmet: tuple[str, ...]
    tries: int
    closed: bool = False
    more_unmet: int = 0


def why_pending(wait: Waiting, *, now: datetime) -> str:
    """Why a pending job is not running yet."""
    if wait.reason is Wait.WAITING_FOR_DEPENDENCIES:
        return f"Waits for {_listed(wait.unmet, wait.more_unmet)} to finish."
    if wait.paused:
        return f"Backend {wait.backend} is paused; it starts nothing new until its operators go on."
    away = wait.last_seen_at is None or now - wait.last_seen_at > _AWAY_AFTER
    since = (
        "has never been seen" if wait.last_seen_at is None else f"was last seen at {clock(wait.last_seen_at)}"
    )
    if wait.closed:
        return _while_closed(wait, f" It {since}." if away else "")
    if wait.reason is Wait.RETRYING:
        again = f"Attempt {wait.tries} ended with an error that is not the study's; it is tried again"
        return f"{again} as soon as backend {wait.backend} is back ({since})." if away else f"{again} soon."
    if away:
        return f"Waits for backend {wait.backend}, which {since}."
    if wait.reason is Wait.WAITING_FOR_CAPACITY:
        return f"Waits for a free place: all places of its kind at backend {wait.backend} are taken."
    return f"Waits for backend {wait.backend} to take it; that happens within seconds."


def _while_closed(wait: Waiting, seen: str) -> str:
    begin = (
        f"Attempt {wait.tries} ended with an error that is not the study's. "
        if wait.reason is Wait.RETRYING
        else ""
    )
    closed = f"Backend {wait.backend} takes nothing new at present; the people who run it see why."
    return f"{begin}{closed}{seen}"


def why_ended_or_running(state: State, reason: str, *, cancel_wished: bool) -> str:
    """What a running or final job's reason means."""
    if state is State.RUNNING and cancel_wished:
        return "It shall stop; the data centre has not confirmed that yet."
    return MEANING[state, reason]


def _listed(actions: Sequence[str], more: int) -> str:
    names = [f"`{action}`" for action in actions]
    if not names:
        return "other actions"
    if len(names) + more > 5:
        names, more = names[:4], len(names) + more - 4
    if more:
        names.append(f"{more} others" if more > 1 else "1 other")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
