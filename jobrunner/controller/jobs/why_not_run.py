"""Sentences about jobs that ended without running: an earlier run serves, or what they need did not succeed.

Pure values, made of names, commits, times and closed words that are public anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobrunner.controller.jobs.transitions import State

_NAMED: Final = 3
_ENDED: Final = {
    State.FAILED: "failed",
    State.REFUSED: "was refused",
    State.CANCELLED: "was cancelled",
}


@dataclass(frozen=True, slots=True)
class LaterFailure:
    """A run of the same action that failed after the one that serves."""

    request_id: str
    commit: str
    reason: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class ServingRun:
    """The successful run that serves. `same_commit`: whether it ran the commit that is asked for now."""

    request_id: str
    commit: str
    same_commit: bool
    finished_at: datetime
    failed_since: LaterFailure | None


@dataclass(frozen=True, slots=True)
class Cause:
    """An action that was tried and did not succeed, and the request in which that was."""

    action: str
    state: State
    reason: str
    request_id: str


def why_reused(run: ServingRun) -> str:
    """Which run serves, at which commit, whether that is the one asked for, and if a later run failed."""
    which = "the one asked for" if run.same_commit else "which is not the one asked for"
    said = [
        f"It did not run again: its run that succeeded at {clock(run.finished_at)} serves, "
        f"at commit {short(run.commit)}, {which}."
    ]
    if not run.same_commit:
        said.append(
            "That is an older run of another commit; `--force` (or naming the action) runs it at this commit."
        )
    failure = run.failed_since
    if failure is not None:
        said.append(
            f"A later run of it failed at {clock(failure.finished_at)}, at commit {short(failure.commit)} "
            f"({failure.reason.replace('_', ' ')})."
        )
    return " ".join(said)


def older_runs(runs: Sequence[ServingRun]) -> str:
    """How many of the runs that serve are of another commit than the one asked for; "" for none."""
    older = sum(not run.same_commit for run in runs)
    if older == 0:
        return ""
    if len(runs) == 1:
        which = (
            "The run that is reused is older and of another commit; `--force` (or naming the action) runs it"
        )
    elif older == len(runs):
        which = (
            f"All {older} reused runs are older and of another commit; "
            "`--force` (or naming actions) runs them"
        )
    else:
        are = "is" if older == 1 else "are"
        which = (
            f"{older} of {len(runs)} reused runs {are} older and of another commit; "
            "`--force` (or naming actions) runs them"
        )
    return f"{which} at this commit."


def why_blocked(causes: Sequence[Cause], request_id: str) -> str:
    """Which action kept a job in dependency_failed from running; `request_id` is the job's own request."""
    if len(causes) == 1:
        (cause,) = causes
        where = "" if cause.request_id == request_id else f" in request {cause.request_id}"
        end = f"{_ENDED[cause.state]}{where} ({cause.reason.replace('_', ' ')})"
        return f"It did not run: `{cause.action}`, which it needs, {end}."
    return f"It did not run: {_names(causes)}, which it needs, did not succeed."


def after_blocked(causes: Sequence[Cause]) -> str:
    """What to do about a job in dependency_failed."""
    if all(cause.state is State.CANCELLED for cause in causes):
        return f"Ask for {_names(causes)} and for this one again."
    return f"Mend {_names(causes)} first, then ask for this one again."


def clock(moment: datetime) -> str:
    """A moment as people read it, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def short(commit: str) -> str:
    """The first 12 digits of a commit."""
    return commit[:12]


def _names(causes: Sequence[Cause]) -> str:
    names = [f"`{cause.action}`" for cause in causes[:_NAMED]]
    if len(causes) > _NAMED:
        names.append("others")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
