"""Which earlier run serves in place of a new one, at which commit, and whether a later run of it failed."""

from collections.abc import Mapping, Sequence

from django.db.models import OuterRef, QuerySet, Subquery

from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.transitions import DEPENDENCY_FAILED, State
from jobrunner.controller.jobs.why_not_run import LaterFailure, ServingRun


def serving(jobs: Sequence[Job]) -> dict[int, ServingRun]:
    """By key of each of these jobs that was served: its run, as things were when it was asked for.

    They come with `reused__request` and `request`. Two queries, or none where nothing was served.
    """
    served = {job.pk: job.reused for job in jobs if job.reused is not None}
    if not served:
        return {}
    failures = _failures_since(Job.objects.filter(pk__in=served), after="reused", before="pk")
    commits = {job.pk: job.request.commit for job in jobs}
    return {key: _run(run, commits[key], failures.get(key)) for key, run in served.items()}


def would_serve(runs: Mapping[str, int], commit: str) -> dict[str, ServingRun]:
    """By action: what the run with that key says to a request for `commit`. Three queries, or none."""
    if not runs:
        return {}
    found = Job.objects.filter(pk__in=list(runs.values()))
    failures = _failures_since(found, after="pk", before=None)
    rows = found.select_related("request").in_bulk()
    return {action: _run(rows[key], commit, failures.get(key)) for action, key in runs.items()}


def _run(run: Job, commit: str, failed_since: LaterFailure | None) -> ServingRun:
    if run.finished_at is None:
        raise ValueError(f"job {run.job_id} serves without having ended")
    return ServingRun(
        request_id=run.request.request_id,
        commit=run.request.commit,
        same_commit=run.request.commit == commit,
        finished_at=run.finished_at,
        failed_since=failed_since,
    )


def _failures_since(jobs: QuerySet[Job], *, after: str, before: str | None) -> dict[int, LaterFailure]:
    """By key of a job: the newest failed run of its action, stored between the jobs that two columns name.

    Runs of one action follow each other, so the order of their keys is the order in which they ran.
    """
    failed = Job.objects.filter(
        workspace=OuterRef("workspace"),
        backend=OuterRef("backend"),
        action=OuterRef("action"),
        state=State.FAILED.value,
        pk__gt=OuterRef(after),
    ).exclude(reason=DEPENDENCY_FAILED)
    if before is not None:
        failed = failed.filter(pk__lt=OuterRef(before))
    # Not by key: a planner that is asked for the order of keys may walk through all keys.
    newest = Subquery(failed.order_by("-finished_at").values("pk")[:1])
    keys = dict(jobs.annotate(failure=newest).filter(failure__isnull=False).values_list("pk", "failure"))
    rows = Job.objects.select_related("request").in_bulk(keys.values()) if keys else {}
    return {
        key: LaterFailure(
            rows[failure].request.request_id, rows[failure].request.commit, rows[failure].reason, ended
        )
        for key, failure in keys.items()
        if (ended := rows[failure].finished_at) is not None
    }
