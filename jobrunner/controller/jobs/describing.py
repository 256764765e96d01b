"""What may be told about a request and its jobs: the closed list of public fields (wall W11).

Pages, the feed and the API build their answers from these values, never from database rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber

from jobrunner.controller.jobs.advice import NEXT, where_the_log_is
from jobrunner.controller.jobs.causes import causes_of
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.reusing import serving
from jobrunner.controller.jobs.tally import tally
from jobrunner.controller.jobs.transitions import FINAL, State, Wait
from jobrunner.controller.jobs.why import Waiting, why_ended_or_running, why_pending
from jobrunner.controller.jobs.why_not_run import Cause, ServingRun, after_blocked, why_blocked, why_reused

_NAMED_NEEDS: Final = 5


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job. Times are the controller's own; `why` is one plain sentence.

    `next_step` and `log` are empty until it has ended. `running_s`: for how many whole seconds its attempt
    has been running, None unless it runs. `serving` is the run that serves in its place; `causes` are the
    actions that kept it from running. `code_*` say which reusable action's code this
    controller found for it, or for the run that serves.
    """

    job_id: str
    action: str
    state: State
    reason: str
    why: str
    next_step: str
    log: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    running_s: int | None
    serving: ServingRun | None
    causes: tuple[Cause, ...]
    code_repo: str | None
    code_tag: str | None
    code_commit: str | None

    @property
    def reused_request(self) -> str | None:
        """The request whose run serves in its place."""
        return None if self.serving is None else self.serving.request_id

    @property
    def reused_commit(self) -> str | None:
        """The commit of the run that serves in its place."""
        return None if self.serving is None else self.serving.commit

    @property
    def code_name(self) -> str | None:
        """The reusable action as project.yaml names it: `name:version`."""
        return None if self.code_repo is None else f"{self.code_repo.rsplit('/', 1)[-1]}:{self.code_tag}"

    @property
    def code_url(self) -> str | None:
        """Where that code can be read, for repositories that the public can reach."""
        if self.code_repo is None or self.code_commit is None:
            return None
        return commit_url(self.code_repo, self.code_commit)

    @property
    def seconds(self) -> int | None:
        """How long its last attempt took, in whole seconds, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0, int((self.finished_at - self.started_at).total_seconds()))


@dataclass(frozen=True, slots=True)
class RequestHead:
    """One job request without its jobs. `state` sums its jobs up."""

    request_id: str
    project: str
    project_title: str
    purpose: str
    legal_basis: str
    workspace: str
    workspace_label: str
    backend: str
    backend_title: str
    asked_by: str
    repo: str
    branch: str
    commit: str
    actions: tuple[str, ...]
    state: State
    created_at: datetime
    finished_at: datetime | None

    @property
    def commit_url(self) -> str | None:
        """Where the commit can be read, for repositories that the public can reach."""
        return commit_url(self.repo, self.commit)


@dataclass(frozen=True, slots=True)
class RequestFacts(RequestHead):
    """One job request with its jobs, in the order in which they run."""

    jobs: tuple[JobFacts, ...]

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended."""
        return all(job.state in FINAL for job in self.jobs)

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs came to what (`tally`)."""
        return tally((job.state, job.reason, 1) for job in self.jobs)


def commit_url(repo: str, commit: str) -> str | None:
    """Where a commit can be read, if its repository is one that the public can reach."""
    return f"{repo}/commit/{commit}" if repo.startswith("https://") else None


def with_names(requests: QuerySet[JobRequest]) -> QuerySet[JobRequest]:
    """The same requests, read together with what `head` tells about them."""
    return requests.select_related("project", "workspace", "backend", "person")


def head(request: JobRequest) -> RequestHead:
    """The facts of one request without its jobs; no query when it was read `with_names`."""
    return RequestHead(**_head(request))


def describe(requests: Sequence[JobRequest], *, now: datetime) -> list[RequestFacts]:
    """The facts of some requests with all their jobs, in a fixed number of queries however many they are."""
    ids = [request.pk for request in requests]
    by_request: dict[int, list[JobFacts]] = {pk: [] for pk in ids}
    rows = _with_related(Job.objects.filter(request__in=ids).order_by("pk"))
    for row, facts in zip(rows, _facts(rows, now), strict=True):
        by_request[row.request_id].append(facts)
    full = with_names(JobRequest.objects.all()).in_bulk(ids)
    return [RequestFacts(**_head(full[pk]), jobs=tuple(by_request[pk])) for pk in ids]


def describe_jobs(jobs: QuerySet[Job], *, now: datetime, causes: bool = True) -> dict[int, JobFacts]:
    """The facts of some jobs by key, in their order, in a few queries however many they are.

    Without `causes` a job that did not run does not name the actions that kept it from running. Finding them
    reads the needs of all such jobs of these requests, so lists of many requests go without.
    """
    rows = _with_related(jobs)
    return {row.pk: facts for row, facts in zip(rows, _facts(rows, now, causes=causes), strict=True)}


def _with_related(jobs: QuerySet[Job]) -> list[Job]:
    return list(jobs.select_related("request", "reused__request", "backend", "workspace"))


@dataclass(frozen=True, slots=True)
class _Around:
    """What is told about jobs that is not in their own rows, by the key of the job."""

    unmet: Mapping[int, tuple[tuple[str, ...], int]]
    serving: Mapping[int, ServingRun]
    causes: Mapping[int, tuple[Cause, ...]]


def _facts(rows: Sequence[Job], now: datetime, *, causes: bool = True) -> list[JobFacts]:
    around = _Around(
        unmet=_unmet([row.pk for row in rows if row.reason == Wait.WAITING_FOR_DEPENDENCIES.value]),
        serving=serving(rows),
        causes=causes_of(rows) if causes else {},
    )
    return [_job(row, around, now) for row in rows]


def _head(request: JobRequest) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "project": request.project.slug,
        "project_title": request.project.title,
        "purpose": request.project.purpose,
        "legal_basis": request.project.legal_basis,
        "workspace": request.workspace.name,
        "workspace_label": f"{request.workspace.repo.rsplit('/', 1)[-1]}, branch {request.workspace.branch}",
        "backend": request.backend.slug,
        "backend_title": request.backend.title,
        "asked_by": request.person.username,
        "repo": request.workspace.repo,
        "branch": request.workspace.branch,
        "commit": request.commit,
        "actions": tuple(request.actions),
        "state": State(request.state),
        "created_at": request.created_at,
        "finished_at": request.finished_at,
    }


def _unmet(waiting: Sequence[int]) -> Mapping[int, tuple[tuple[str, ...], int]]:
    """Of each of these jobs the first needs that have not succeeded, and how many more there are."""
    if not waiting:
        return {}
    links: Any = Job.needs.through
    rows: Iterable[tuple[int, str, int]] = (
        links.objects.filter(from_job__in=waiting)
        .exclude(to_job__state=State.SUCCEEDED.value)
        .annotate(
            place=Window(RowNumber(), partition_by="from_job", order_by="to_job"),
            total=Window(Count("pk"), partition_by="from_job"),
        )
        .filter(place__lte=_NAMED_NEEDS)
        .order_by("from_job", "to_job")
        .values_list("from_job", F("to_job__action"), "total")
    )
    names: dict[int, list[str]] = {}
    totals: dict[int, int] = {}
    for pk, action, total in rows:
        names.setdefault(pk, []).append(action)
        totals[pk] = total
    return {pk: (tuple(found), totals[pk] - len(found)) for pk, found in names.items()}


def _job(job: Job, around: _Around, now: datetime) -> JobFacts:
    state = State(job.state)
    ran = job.reused or job
    causes = around.causes.get(job.pk, ())
    return JobFacts(
        job_id=job.job_id,
        action=job.action,
        state=state,
        reason=job.reason,
        why=_why(job, around, now),
        next_step=after_blocked(causes) if causes else NEXT.get((state, job.reason), ""),
        log=where_the_log_is(
            state,
            job.reason,
            job_id=job.job_id,
            attempt=job.attempt,
            workspace=job.workspace.name,
            action=job.action,
        ),
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        running_s=_running_s(job, now),
        serving=around.serving.get(job.pk),
        causes=causes,
        code_repo=ran.code_repo or None,
        code_tag=ran.code_tag or None,
        code_commit=ran.code_commit or None,
    )


def _running_s(job: Job, now: datetime) -> int | None:
    if job.state != State.RUNNING or job.started_at is None:
        return None
    return max(0, int((now - job.started_at).total_seconds()))


def _why(job: Job, around: _Around, now: datetime) -> str:
    state = State(job.state)
    if run := around.serving.get(job.pk):
        return why_reused(run)
    if causes := around.causes.get(job.pk):
        return why_blocked(causes, job.request.request_id)
    if state is not State.PENDING:
        return why_ended_or_running(state, job.reason, cancel_wished=bool(job.cancel_reason))
    names, more = around.unmet.get(job.pk, ((), 0))
    wait = Waiting(
        reason=Wait(job.reason),
        backend=job.backend.slug,
        paused=job.backend.paused,
        closed=not job.backend.accepting,
        last_seen_at=job.backend.last_seen_at,
        unmet=names,
        tries=job.tries,
        more_unmet=more,
    )
    return why_pending(wait, now=now)
