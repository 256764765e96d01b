"""Writes a planned request into the database: its jobs, what they need, and the first event of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from jobrunner.controller.accounts.models import Person
from jobrunner.controller.jobs import wake
from jobrunner.controller.jobs.asking import Ask, Target
from jobrunner.controller.jobs.lifecycle import first_wait, record, sum_up
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.reusable import Code, Use, use_of
from jobrunner.controller.jobs.transitions import ACTIVE, REUSED, Situation, State, Wait, check_new
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.prepared_writes import PreparedInsert
from jobrunner.controller.projects.models import Backend, Project, Workspace
from jobrunner.pipeline.model import Action
from jobrunner.sync import identity
from jobrunner.sync.vocabulary import Reason

_REUSED: Final = Situation(State.SUCCEEDED, REUSED)
_OF_THE_STUDY: Final = Code("", "", "")


class _NewJob(NamedTuple):
    """The columns of a new job that have no default, or not always."""

    job_id: str
    request_id: int
    workspace_id: int
    backend_id: int
    action: str
    is_database: bool
    state: str
    reason: str
    created_at: datetime
    changed_at: datetime
    reused_id: int | None = None
    finished_at: datetime | None = None
    code_repo: str = _OF_THE_STUDY.repo
    code_tag: str = _OF_THE_STUDY.tag
    code_commit: str = _OF_THE_STUDY.commit


_JOBS: Final = PreparedInsert(Job, *_NewJob._fields)
_LINKS: Final = PreparedInsert(Job.needs.through, "from_job_id", "to_job_id")
_WORKSPACE: Final = Prepared(lambda name: Workspace.objects.filter(name=name))


def workspace_for(project: Project, repo: str, branch: str, *, now: datetime) -> Workspace:
    """The workspace of a branch, made where it is not there yet."""
    name = identity.workspace_name(project.slug, repo, branch)
    known = _WORKSPACE.first(name)
    if known is not None:
        return known
    fields = {"project": project, "repo": repo, "branch": branch, "created_at": now}
    workspace, _ = Workspace.objects.get_or_create(name=name, defaults=fields)
    return workspace


_SUCCEEDED: Final = Prepared(
    lambda workspace, backend: (
        Job.objects.filter(
            workspace=workspace,
            backend=backend,
            state=State.SUCCEEDED.value,
            reason=Reason.COMPLETED.value,
        )
        .order_by("finished_at", "pk")
        .values_list("action", "pk")
    )
)


def succeeded_runs(workspace: Workspace, backend: Backend) -> dict[str, int]:
    """The key of the newest successful run of each action. A job that only reused one is no run."""
    return dict(_SUCCEEDED.rows(workspace.pk, backend.pk))


_ACTIVE: Final = Prepared(
    lambda workspace, backend: Job.objects.filter(
        workspace=workspace,
        backend=backend,
        state__in=[state.value for state in ACTIVE],
        finished_at=None,
    ).values_list("action", "pk")
)


def active_jobs(workspace: Workspace, backend: Backend) -> dict[str, int]:
    """The key of the waiting or running job of each action."""
    return dict(_ACTIVE.rows(workspace.pk, backend.pk))


def plant(
    ask: Ask,
    person: Person,
    target: Target,
    workspace: Workspace,
    *,
    to_run: Sequence[Action],
    reused: Sequence[Action],
    succeeded: Mapping[str, int],
    active: Mapping[str, int],
    codes: Mapping[Use, Code],
    now: datetime,
) -> JobRequest:
    """Store the request. `to_run` is in dependency order, and `codes` has the code of every reusable action
    in it; call in a transaction."""
    request = JobRequest.objects.create(
        request_id=identity.new_id(),
        person=person,
        client_key=ask.client_key,
        body_digest=ask.digest(),
        project=target.project,
        workspace=workspace,
        backend=target.backend,
        commit=ask.commit,
        actions=list(ask.actions),
        force=ask.force,
        state=State.PENDING.value,
        created_at=now,
    )
    ready = Situation(State.PENDING, first_wait(target.backend).value)
    waiting = Situation(State.PENDING, Wait.WAITING_FOR_DEPENDENCIES.value)
    runs = {action.id for action in to_run}
    served = {action.id for action in reused}

    jobs: list[_NewJob] = []

    def add(action: Action, situation: Situation, **more: Any) -> None:
        check_new(situation)
        job = _NewJob(
            job_id=identity.job_id(request.request_id, action.id),
            request_id=request.pk,
            workspace_id=workspace.pk,
            backend_id=target.backend.pk,
            action=action.id,
            is_database=action.is_database_action,
            state=situation.state.value,
            reason=situation.reason,
            created_at=now,
            changed_at=now,
            **more,
        )
        jobs.append(job)

    for action in reused:
        add(action, _REUSED, reused_id=succeeded[action.id], finished_at=now)
    for action in to_run:
        blocked = any(need in runs or (need in active and need not in served) for need in action.needs)
        code = codes.get(use_of(action), _OF_THE_STUDY)
        place = {"code_repo": code.repo, "code_tag": code.tag, "code_commit": code.commit}
        add(action, waiting if blocked else ready, **place)
    keys = _JOBS.add(jobs)
    _link(to_run, {**active, **{job.action: key for job, key in zip(jobs, keys, strict=True)}})
    begun = [Situation(State(job.state), job.reason) for job in jobs]
    record([(key, step, 0) for key, step in zip(keys, begun, strict=True)], now=now)
    sum_up([request.pk], now=now)
    wake.changed(target.backend.pk)
    return request


def _link(to_run: Sequence[Action], jobs: Mapping[str, int]) -> None:
    _LINKS.add([(jobs[action.id], jobs[need]) for action in to_run for need in dict.fromkeys(action.needs)])
