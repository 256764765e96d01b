"""Writes a planned request into the database: its jobs, what they need, and the first event of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobrunner.controller.accounts.models import Person
from jobrunner.controller.jobs import wake
from jobrunner.controller.jobs.asking import Ask, Target
from jobrunner.controller.jobs.lifecycle import first_wait, record, sum_up
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.reusable import Code, Use, use_of
from jobrunner.controller.jobs.transitions import ACTIVE, REUSED, Situation, State, Wait, check_new
from jobrunner.controller.projects.models import Backend, Project, Workspace
from jobrunner.pipeline.model import Action
from jobrunner.sync import identity
from jobrunner.sync.vocabulary import Reason


def workspace_for(project: Project, repo: str, branch: str, *, now: datetime) -> Workspace:
    """The workspace of a branch, made where it is not there yet."""
    workspace, _ = Workspace.objects.get_or_create(
        name=identity.workspace_name(project.slug, repo, branch),
        defaults={"project": project, "repo": repo, "branch": branch, "created_at": now},
    )
    return workspace


def succeeded_runs(workspace: Workspace, backend: Backend) -> dict[str, int]:
    """The key of the newest successful run of each action. A job that only reused one is no run."""
    runs = Job.objects.filter(
        workspace=workspace,
        backend=backend,
        state=State.SUCCEEDED.value,
        reason=Reason.COMPLETED.value,
    )
    return dict(runs.order_by("finished_at", "pk").values_list("action", "pk"))


def active_jobs(workspace: Workspace, backend: Backend) -> dict[str, int]:
    """The key of the waiting or running job of each action."""
    jobs = Job.objects.filter(
        workspace=workspace,
        backend=backend,
        state__in=[state.value for state in ACTIVE],
        finished_at=None,
    )
    return dict(jobs.values_list("action", "pk"))


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

    def new(action: Action, situation: Situation) -> Job:
        check_new(situation)
        return Job(
            job_id=identity.job_id(request.request_id, action.id),
            request=request,
            workspace=workspace,
            backend=target.backend,
            action=action.id,
            is_database=action.is_database_action,
            state=situation.state.value,
            reason=situation.reason,
            created_at=now,
            changed_at=now,
        )

    jobs = []
    for action in reused:
        job = new(action, Situation(State.SUCCEEDED, REUSED))
        job.reused_id = succeeded[action.id]
        job.finished_at = now
        jobs.append(job)
    for action in to_run:
        blocked = any(need in runs or (need in active and need not in served) for need in action.needs)
        job = new(action, waiting if blocked else ready)
        if code := codes.get(use_of(action)):
            job.code_repo, job.code_tag, job.code_commit = code.repo, code.tag, code.commit
        jobs.append(job)
    created = Job.objects.bulk_create(jobs, batch_size=500)
    _link(to_run, {**active, **{job.action: job.pk for job in created}})
    record(created, now=now)
    sum_up([request.pk], now=now)
    wake.changed(target.backend.pk)
    return request


def _link(to_run: Sequence[Action], jobs: Mapping[str, int]) -> None:
    # The stubs do not know that a `through` model has a manager.
    link: Any = Job.needs.through
    link.objects.bulk_create(
        [
            link(from_job_id=jobs[action.id], to_job_id=jobs[need])
            for action in to_run
            for need in dict.fromkeys(action.needs)
        ],
        batch_size=500,
    )
