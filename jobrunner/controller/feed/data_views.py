"""The same facts for programs, as JSON."""

from datetime import datetime
from typing import Any, Final

from django.db.models import Window
from django.db.models.functions import RowNumber
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobrunner.controller.feed.filters import BadFilter, read_filters
from jobrunner.controller.feed.listing import Digest, UnknownMark, digest_of, page
from jobrunner.controller.feed.views import find
from jobrunner.controller.jobs.describing import JobFacts, describe_jobs
from jobrunner.controller.jobs.models import Job, JobRequest

_JOBS_OF_A_REQUEST: Final = 20
_JOBS_A_PAGE: Final = 500


@require_safe
def feed_json(request: HttpRequest) -> JsonResponse:
    """Requests, newest first, with the filters of the page; `next` leads to older ones.

    `jobs` has the first 20 of each request; `counts` counts them all, and `data` leads to all of them.
    """
    now = timezone.now()
    try:
        filters = read_filters(request.GET)
        found = page(
            filters.apply(JobRequest.objects.all()),
            before=request.GET.get("before", ""),
            after=request.GET.get("after", ""),
            now=now,
        )
    except BadFilter as bad:
        return _error(bad.status, "bad_filter", str(bad))
    except UnknownMark:
        return _error(404, "unknown_mark", "No request has the id in `before` or `after`.")
    jobs = _first_jobs([digest.head.request_id for digest in found.digests], now=now)
    path = reverse("feed-json")
    body = {
        "made_at": _time(now),
        "requests": [_request(digest, jobs.get(digest.head.request_id, [])) for digest in found.digests],
        "next": found.older and f"{path}?{filters.query(before=found.older)}",
        "previous": found.newer and f"{path}?{filters.query(after=found.newer)}",
    }
    return JsonResponse(body)


@require_safe
def job_request_json(request: HttpRequest, request_id: str) -> JsonResponse:
    """One request with its jobs in running order; `next` leads to further jobs."""
    now = timezone.now()
    try:
        found = find(request_id)
    except Http404:
        return _error(404, "not_found", "There is no such job request.")
    jobs = Job.objects.filter(request=found).order_by("pk")
    after = request.GET.get("after", "")
    if after:
        key = jobs.filter(job_id=after).values_list("pk", flat=True).first()
        if key is None:
            return _error(404, "unknown_mark", "No job of this request has the id in `after`.")
        jobs = jobs.filter(pk__gt=key)
    facts = list(describe_jobs(jobs[: _JOBS_A_PAGE + 1], now=now).values())
    shown = facts[:_JOBS_A_PAGE]
    more = len(facts) > _JOBS_A_PAGE
    body = _head(digest_of(found, now=now)) | {
        "made_at": _time(now),
        "jobs": [_job(job) for job in shown],
        "next": f"{request.path}?after={shown[-1].job_id}" if more else None,
    }
    return JsonResponse(body)


def _first_jobs(request_ids: list[str], *, now: datetime) -> dict[str, list[JobFacts]]:
    places = Window(RowNumber(), partition_by="request", order_by="pk")
    numbered = Job.objects.filter(request__request_id__in=request_ids).annotate(place=places)
    rows = list(
        numbered.filter(place__lte=_JOBS_OF_A_REQUEST).order_by("pk").values_list("pk", "request__request_id")
    )
    facts = describe_jobs(Job.objects.filter(pk__in=[pk for pk, _ in rows]), now=now, causes=False)
    found: dict[str, list[JobFacts]] = {}
    for pk, request_id in rows:
        found.setdefault(request_id, []).append(facts[pk])
    return found


def _request(digest: Digest, jobs: list[JobFacts]) -> dict[str, Any]:
    return _head(digest) | {"jobs": [_job(job) for job in jobs]}


def _head(digest: Digest) -> dict[str, Any]:
    facts = digest.head
    return {
        "request_id": facts.request_id,
        "project": facts.project,
        "project_title": facts.project_title,
        "workspace": facts.workspace_label,
        "backend": facts.backend,
        "asked_by": facts.asked_by,
        "commit": facts.commit,
        "commit_url": facts.commit_url,
        "state": facts.state.value,
        "created_at": _time(facts.created_at),
        "finished_at": _time(facts.finished_at),
        "counts": {state.value: count for state, count in digest.counts.items()},
        "page": reverse("job-request", args=[facts.request_id]),
        "data": reverse("job-request-json", args=[facts.request_id]),
    }


def _job(job: JobFacts) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "action": job.action,
        "state": job.state.value,
        "reason": job.reason,
        "why": job.why,
        "next_step": job.next_step,
        "log": job.log,
        "attempt": job.attempt,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "seconds": job.seconds,
        "reused_request": job.reused_request,
        "reused_commit": job.reused_commit,
        "code_repo": job.code_repo,
        "code_tag": job.code_tag,
        "code_commit": job.code_commit,
    }


def _error(status: int, word: str, message: str) -> JsonResponse:
    return JsonResponse({"errors": [{"id": word, "message": message}]}, status=status)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
