"""The public pages. They show what `jobs.describing` lists, and nothing else."""

from datetime import datetime
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobrunner.controller.jobs.describing import JobFacts, RequestFacts, describe
from jobrunner.controller.jobs.models import JobEvent, JobRequest

PAGE_SIZE: Final = 20


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """Newest requests first."""
    page, older = _page(request)
    context = {
        "requests": page,
        "older": older,
        "is_first": "before" not in request.GET,
        "now": timezone.now(),
    }
    return render(request, "feed/front.html", context)


@require_safe
def job_request(request: HttpRequest, request_id: str) -> HttpResponse:
    """One request: why it was made, each job, and every change of each."""
    found = JobRequest.objects.filter(request_id=request_id).first()
    if found is None:
        raise Http404
    (facts,) = describe([found], now=timezone.now())
    events = JobEvent.objects.filter(job__request=found).order_by("pk")
    history = events.values_list("at", "job__action", "state", "reason", "attempt")
    return render(request, "feed/job_request.html", {"request_facts": facts, "history": history})


@require_safe
def feed_json(request: HttpRequest) -> HttpResponse:
    """The feed for programs; `next` leads to older requests."""
    page, older = _page(request)
    body = {
        "requests": [_as_json(facts) for facts in page],
        "next": None if older is None else f"{reverse('feed-json')}?before={older}",
    }
    return JsonResponse(body)


def _page(request: HttpRequest) -> tuple[list[RequestFacts], str | None]:
    """One page, and the id of the request before which the next page begins."""
    rows = JobRequest.objects.order_by("-pk")
    before = request.GET.get("before")
    if before is not None:
        mark = JobRequest.objects.filter(request_id=before).first()
        if mark is None:
            raise Http404
        rows = rows.filter(pk__lt=mark.pk)
    found = list(rows[: PAGE_SIZE + 1])
    page = describe(found[:PAGE_SIZE], now=timezone.now())
    return page, page[-1].request_id if len(found) > PAGE_SIZE else None


def _as_json(facts: RequestFacts) -> dict[str, Any]:
    return {
        "request_id": facts.request_id,
        "project": facts.project,
        "workspace": facts.workspace_label,
        "backend": facts.backend,
        "asked_by": facts.asked_by,
        "commit": facts.commit,
        "commit_url": facts.commit_url,
        "created_at": _time(facts.created_at),
        "jobs": [_job_as_json(job) for job in facts.jobs],
    }


def _job_as_json(job: JobFacts) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "action": job.action,
        "state": job.state.value,
        "reason": job.reason,
        "why": job.why,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "seconds": job.seconds,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    return _error(request, 400, "This request cannot be understood", "Check the address and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _error(request, 403, "This is not allowed", "You may not do that here.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return _error(request, 404, "There is nothing here", "The address may be mistyped, or it never existed.")


def server_error(request: HttpRequest) -> HttpResponse:
    """500."""
    return _error(
        request, 500, "Something went wrong on our side", "It has been noted. Try again in a few minutes."
    )


def _error(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    context = {"status": status, "title": title, "advice": advice}
    return render(request, "feed/error.html", context, status=status)
