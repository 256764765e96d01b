"""From a job request to its jobs: look at the commit, plan, and store all of it or nothing."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction

from jobrunner.controller.accounts.models import PersonalToken
from jobrunner.controller.jobs import turns
from jobrunner.controller.jobs.asking import (
    Ask,
    Complaint,
    RequestRefused,
    Target,
    check_approved,
    check_offline,
)
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.planting import active_jobs, plant, succeeded_runs, workspace_for
from jobrunner.controller.jobs.reusable import Code, Shelf, Use, resolve, unresolved
from jobrunner.controller.prepared import Prepared
from jobrunner.pipeline import load
from jobrunner.pipeline.model import Action, Pipeline, Problem
from jobrunner.pipeline.planning import RequestProblem, plan
from jobrunner.study import (
    CommitNotFound,
    CommitNotOnBranch,
    GitRules,
    IntakeError,
    Mirrors,
    PipelineMissing,
    Unreachable,
)

_MAX_PIPELINE_BYTES: Final = 5_000_001
_TRIES: Final = 3
_GIT_AT_ONCE: Final = threading.BoundedSemaphore(4)

_ASKED: Final = Prepared(lambda person, key: JobRequest.objects.filter(person=person, client_key=key))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The stored request, or a sentence that says why there is nothing to do.

    By action, the key of what was found: a run that serves where nothing was stored (`succeeded`), and the
    job of what was asked for, or is needed, and waits or runs already (`active`).
    """

    request: JobRequest | None
    new: bool
    nothing_to_do: str | None = None
    succeeded: Mapping[str, int] = field(default_factory=dict)
    active: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Studies:
    """How this controller reads study repositories, and reusable actions from their `shelf`."""

    mirrors: Mirrors
    rules: GitRules
    shelf: Shelf
    deadline_s: float


class _CodeWanted(Exception):
    """The plan has reusable actions whose code has to be looked up before it can be stored."""

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__(", ".join(action.id for action in actions))
        self.actions = actions


def ask_for_jobs(ask: Ask, token: PersonalToken, studies: Studies, *, now: datetime) -> Answer:
    """Store a job request with its jobs, or find the one stored under the same key.

    Raises RequestRefused: 409 for a key used with another body, 403 without a right or an approval, 422 for
    what is wrong with the request or its commit, 503 when the git host is away. Nothing is stored then.
    """
    known = _known(ask, token)
    if known is not None:
        return known
    target = check_offline(ask, token, studies.rules, now=now)
    deadline = time.monotonic() + studies.deadline_s
    pipeline = _read_pipeline(ask, studies, deadline)
    codes: dict[Use, Code] = {}
    left = _TRIES
    while left:
        try:
            # Planned and stored in one transaction: what the plan saw is still so when its jobs are written.
            with transaction.atomic():
                return _store(ask, token, target, pipeline, codes, now)
        except _CodeWanted as wanted:
            # Nothing else is wrong with the request, and nothing of it is stored: now the hosts are asked.
            codes |= _look_up(ask, wanted.actions, studies, deadline)
        except IntegrityError:
            # Somebody stored the same key, or the same action, between our look and our write.
            known = _known(ask, token)
            if known is not None:
                return known
            left -= 1
            if not left:
                raise
    raise RequestRefused(503, [Complaint("busy", "Too many requests at once. Try again.")])


def _known(ask: Ask, token: PersonalToken) -> Answer | None:
    request = _ASKED.first(token.person_id, ask.client_key)
    if request is None:
        return None
    if request.body_digest != ask.digest():
        raise RequestRefused(
            409, [Complaint("key_reused", "This client_key was used for another request. Take a new one.")]
        )
    return Answer(request, new=False)


def _store(
    ask: Ask,
    token: PersonalToken,
    target: Target,
    pipeline: Pipeline,
    codes: Mapping[Use, Code],
    now: datetime,
) -> Answer:
    target = Target(target.project, turns.take(target.backend.pk))
    known = _known(ask, token)
    if known is not None:
        # Stored by somebody else while we read the commit.
        return known
    workspace = workspace_for(target.project, ask.repo, ask.branch, now=now)
    succeeded = succeeded_runs(workspace, target.backend)
    active = active_jobs(workspace, target.backend)
    try:
        planned = plan(
            pipeline, ask.actions, succeeded=frozenset(succeeded), active=frozenset(active), force=ask.force
        )
    except RequestProblem as problem:
        complaints = [Complaint(word, message) for word, message in problem.problems]
        raise RequestRefused(422, complaints) from problem
    busy = {action: active[action] for action in (*ask.actions, *planned.waits_for) if action in active}
    if planned.nothing_to_do is not None:
        serving = {action: succeeded[action] for action in planned.reused}
        return Answer(None, new=False, nothing_to_do=planned.nothing_to_do, succeeded=serving, active=busy)
    check_approved(ask, target.project, tuple(planned.to_run), now=now)
    to_run = [pipeline.actions[action] for action in planned.to_run]
    if wanted := unresolved(to_run, codes):
        raise _CodeWanted(wanted)
    request = plant(
        ask,
        token.person,
        target,
        workspace,
        to_run=to_run,
        reused=[pipeline.actions[action] for action in planned.reused],
        succeeded=succeeded,
        active=active,
        codes=codes,
        now=now,
    )
    return Answer(request, new=True, active=busy)


def _look_up(ask: Ask, actions: Sequence[Action], studies: Studies, deadline: float) -> dict[Use, Code]:
    try:
        with _git_place(max(0.1, deadline - time.monotonic())):
            return resolve(actions, studies.shelf, deadline)
    except Unreachable as error:
        raise _refusal(ask, error) from error


def _read_pipeline(ask: Ask, studies: Studies, deadline: float) -> Pipeline:
    try:
        with _git_place(studies.deadline_s):
            pinned = studies.mirrors.pin(
                ask.repo, ask.branch, ask.commit, deadline_s=max(0.1, deadline - time.monotonic())
            )
            text = pinned.read_file("project.yaml", _MAX_PIPELINE_BYTES)
    except IntakeError as error:
        raise _refusal(ask, error) from error
    loaded = load(text)
    if loaded.pipeline is None:
        errors = [problem for problem in loaded.problems if problem.severity == "error"]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        problems = tuple(_as_dict(problem) for problem in errors)
        raise RequestRefused(422, [Complaint("RQ002", f"project.yaml has {count}.", problems)])
    return loaded.pipeline


@contextmanager
def _git_place(seconds: float) -> Iterator[None]:
    """Only a few fetches run at once, so that slow git hosts cannot take every thread."""
    if not _GIT_AT_ONCE.acquire(timeout=seconds):
        raise Unreachable("Too many repositories are being read at this moment.")
    try:
        yield
    finally:
        _GIT_AT_ONCE.release()


def _as_dict(problem: Problem) -> dict[str, str | int | None]:
    return {
        "id": problem.id,
        "line": problem.line,
        "column": problem.column,
        "action": problem.action,
        "message": problem.message,
    }


def _refusal(ask: Ask, error: IntakeError) -> RequestRefused:
    if isinstance(error, Unreachable):
        # What went wrong with the git host is for who runs the controller; the researcher can only wait.
        _log.warning("a repository could not be read: %s", error)
        message = f"`{ask.repo}` could not be reached; nothing is stored. Try again in a few minutes."
        return RequestRefused(503, [Complaint("git_unreachable", message)])
    if isinstance(error, PipelineMissing):
        message = (
            f"There is no project.yaml at the root of `{ask.repo}` at `{ask.commit}`. Add one and commit it."
        )
        return RequestRefused(422, [Complaint("RQ001", message)])
    if isinstance(error, CommitNotFound) and error.detail == "branch":
        return RequestRefused(422, [Complaint("RQ011", f"`{ask.repo}` has no branch `{ask.branch}`.")])
    if isinstance(error, CommitNotFound | CommitNotOnBranch):
        message = f"Commit `{ask.commit}` is not on branch `{ask.branch}`. Push or merge it first."
        return RequestRefused(422, [Complaint("RQ012", message)])
    return RequestRefused(422, [Complaint(error.reason, error.message)])
