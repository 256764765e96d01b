"""What may be told about a request and its jobs: the closed list of public fields (wall W11).

Pages, the feed and the API build their answers from these values, never from database rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch

from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.transitions import FINAL, State, Wait
from jobrunner.controller.jobs.why import Waiting, why_ended_or_running, why_pending


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job. Times are the controller's own; `why` is one plain sentence."""

    job_id: str
    action: str
    state: State
    reason: str
    why: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reused_request: str | None

    @property
    def seconds(self) -> int | None:
        """How long its last attempt took, in whole seconds, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0, int((self.finished_at - self.started_at).total_seconds()))


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One job request with its jobs, in the order in which they run."""

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
    created_at: datetime
    jobs: tuple[JobFacts, ...]

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended."""
        return all(job.state in FINAL for job in self.jobs)

    @property
    def commit_url(self) -> str | None:
        """Where the commit can be read, for repositories that the public can reach."""
        return f"{self.repo}/commit/{self.commit}" if self.repo.startswith("https://") else None


def describe(requests: Sequence[JobRequest], *, now: datetime) -> list[RequestFacts]:
    """The facts of some requests, in a fixed number of queries however many they are."""
    ids = [request.pk for request in requests]
    unmet = Job.objects.exclude(state=State.SUCCEEDED.value).order_by("pk")
    jobs = (
        Job.objects.filter(request__in=ids)
        .select_related("reused__request", "backend")
        .prefetch_related(Prefetch("needs", queryset=unmet, to_attr="unmet"))
        .order_by("pk")
    )
    by_request: dict[int, list[Job]] = {pk: [] for pk in ids}
    for job in jobs:
        by_request[job.request_id].append(job)
    full = JobRequest.objects.select_related("project", "workspace", "backend", "person").in_bulk(ids)
    return [_request(full[pk], by_request[pk], now) for pk in ids]


def _request(request: JobRequest, jobs: Iterable[Job], now: datetime) -> RequestFacts:
    return RequestFacts(
        request_id=request.request_id,
        project=request.project.slug,
        project_title=request.project.title,
        purpose=request.project.purpose,
        legal_basis=request.project.legal_basis,
        workspace=request.workspace.name,
        workspace_label=f"{request.workspace.repo.rsplit('/', 1)[-1]}, branch {request.workspace.branch}",
        backend=request.backend.slug,
        backend_title=request.backend.title,
        asked_by=request.person.username,
        repo=request.workspace.repo,
        branch=request.workspace.branch,
        commit=request.commit,
        actions=tuple(request.actions),
        created_at=request.created_at,
        jobs=tuple(_job(job, now) for job in jobs),
    )


def _job(job: Job, now: datetime) -> JobFacts:
    return JobFacts(
        job_id=job.job_id,
        action=job.action,
        state=State(job.state),
        reason=job.reason,
        why=_why(job, now),
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        reused_request=None if job.reused is None else job.reused.request.request_id,
    )


def _why(job: Job, now: datetime) -> str:
    state = State(job.state)
    if state is not State.PENDING:
        return why_ended_or_running(state, job.reason, cancel_wished=bool(job.cancel_reason))
    unmet: list[Job] = getattr(job, "unmet", [])
    wait = Waiting(
        reason=Wait(job.reason),
        backend=job.backend.slug,
        paused=job.backend.paused,
        last_seen_at=job.backend.last_seen_at,
        unmet=tuple(need.action for need in unmet),
        tries=job.tries,
    )
    return why_pending(wait, now=now)
