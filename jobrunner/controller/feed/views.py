"""The public pages about requests. They show what `jobs.describing` lists, and nothing else.

Each page is made of a frame and a part. The part alone is served under /live/, for the script that keeps an
open page up to date; both come from the same template, so that nobody sees more or less without the script.
"""

from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobrunner.controller.feed import error_views
from jobrunner.controller.feed.approval_facts import approval_for
from jobrunner.controller.feed.filters import BadFilter, Filters, read_filters
from jobrunner.controller.feed.listing import Page, UnknownMark, digest, digest_of, page
from jobrunner.controller.feed.pipeline_graph import pipeline_of
from jobrunner.controller.feed.showing import show
from jobrunner.controller.jobs.describing import describe_jobs, head, with_names
from jobrunner.controller.jobs.models import Job, JobEvent, JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.projects.models import Backend, Project

_RUNNING_SHOWN: Final = 10
_WAITING_SHOWN: Final = 10
_FINISHED_SHOWN: Final = 10
_JOBS_SHOWN: Final = 100
_CHANGES_SHOWN: Final = 20
_CHANGES_A_PAGE: Final = 200


@require_safe
def front(request: HttpRequest, *, part: bool = False) -> HttpResponse:
    """What runs now, what waits and why, and what finished lately."""
    now = timezone.now()
    running = _newest(Q(state=State.RUNNING.value), _RUNNING_SHOWN)
    waiting = _newest(Q(state=State.PENDING.value), _WAITING_SHOWN)
    finished = list(
        JobRequest.objects.filter(finished_at__isnull=False)
        .order_by("-finished_at")
        .values_list("pk", flat=True)[:_FINISHED_SHOWN]
    )
    digests = iter(digest([*running, *waiting, *finished], now=now))
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    context = {
        "running": [next(digests) for _ in running],
        "waiting": [next(digests) for _ in waiting],
        "finished": list(digests),
        "running_count": JobRequest.objects.filter(state=State.RUNNING.value).count(),
        "waiting_count": JobRequest.objects.filter(state=State.PENDING.value).count(),
        "today_count": JobRequest.objects.filter(finished_at__gte=today).count(),
        **_choices(Filters(), part=part),
    }
    return show(request, "front", context, now=now, part=part)


@require_safe
def runs(request: HttpRequest, *, part: bool = False) -> HttpResponse:
    """All requests, newest first, narrowed by filters."""
    now = timezone.now()
    try:
        filters = read_filters(request.GET)
    except BadFilter as bad:
        return error_views.bad_filter(request, bad, _choices(Filters(), part=part))
    found = page_of(request, filters.apply(JobRequest.objects.all()), now=now)
    path = reverse("runs")
    context = {
        "page": found,
        "filters": filters,
        "is_filtered": filters != Filters(),
        "older": found.older and f"{path}?{filters.query(before=found.older)}",
        "newer": found.newer and f"{path}?{filters.query(after=found.newer)}",
        "query": request.GET.urlencode(),
        **_choices(filters, part=part),
    }
    return show(request, "runs", context, now=now, part=part)


@require_safe
def job_request(request: HttpRequest, request_id: str, *, part: bool = False) -> HttpResponse:
    """One request: why it was made, each job, and the latest changes."""
    now = timezone.now()
    found = find(request_id)
    jobs, chosen, after = Job.objects.filter(request=found).order_by("pk"), _chosen_state(request), None
    if chosen is not None:
        jobs = jobs.filter(state=chosen.value)
    if request.GET.get("after"):
        after = _job_key(found, request.GET["after"])
        jobs = jobs.filter(pk__gt=after)
    facts = list(describe_jobs(jobs[: _JOBS_SHOWN + 1], now=now).values())
    more = len(facts) > _JOBS_SHOWN
    told = digest_of(found, now=now)
    context = {
        "digest": told,
        "head": told.head,
        "approval": approval_for(found.project, found.backend.slug, at=found.created_at, now=now),
        "counts": told.counts.items(),
        "pipeline": pipeline_of(found),
        "jobs": facts[:_JOBS_SHOWN],
        "chosen": chosen,
        "is_first": after is None,
        "more_after": facts[_JOBS_SHOWN - 1].job_id if more else None,
        "changes": list(_changes(found).order_by("-pk")[:_CHANGES_SHOWN]),
        "change_count": JobEvent.objects.filter(job__request=found).count(),
        "query": request.GET.urlencode(),
    }
    return show(request, "job_request", context, now=now, part=part)


@require_safe
def history(request: HttpRequest, request_id: str) -> HttpResponse:
    """Every change of every job of one request, oldest first."""
    found = find(request_id)
    rows = _changes(found).order_by("pk")
    after = request.GET.get("after", "")
    if after:
        if not (after.isascii() and after.isdigit() and len(after) < 19):
            raise Http404
        rows = rows.filter(pk__gt=int(after))
    changes = list(rows[: _CHANGES_A_PAGE + 1])
    context = {
        "head": head(found),
        "changes": changes[:_CHANGES_A_PAGE],
        "is_first": not after,
        "next": changes[_CHANGES_A_PAGE - 1][0] if len(changes) > _CHANGES_A_PAGE else None,
    }
    return show(request, "history", context, now=timezone.now(), part=False)


def find(request_id: str) -> JobRequest:
    """The request of that id; raises Http404."""
    found = with_names(JobRequest.objects.filter(request_id=request_id)).first()
    if found is None:
        raise Http404
    return found


def page_of(request: HttpRequest, requests: QuerySet[JobRequest], *, now: datetime) -> Page:
    """The page of these requests that the address asks for; raises Http404 for a mark that never was."""
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    try:
        return page(requests, before=before, after=after, now=now)
    except UnknownMark as error:
        raise Http404 from error


def _newest(which: Q, count: int) -> list[int]:
    return list(JobRequest.objects.filter(which).order_by("-pk").values_list("pk", flat=True)[:count])


def _choices(filters: Filters, *, part: bool) -> dict[str, Any]:
    """What the filter form offers; the part has no form."""
    if part:
        return {}
    return {
        "filters": filters,
        "projects": list(Project.objects.order_by("title").values_list("slug", "title")),
        "backends": list(Backend.objects.order_by("title").values_list("slug", "title")),
        "states": list(State),
    }


def _chosen_state(request: HttpRequest) -> State | None:
    word = request.GET.get("state", "")
    if word and word not in list(State):
        raise Http404
    return State(word) if word else None


def _job_key(found: JobRequest, job_id: str) -> int:
    key = Job.objects.filter(request=found, job_id=job_id).values_list("pk", flat=True).first()
    if key is None:
        raise Http404
    return key


def _changes(found: JobRequest) -> QuerySet[JobEvent, tuple[Any, ...]]:
    columns = ("pk", "at", "job__action", "state", "reason", "attempt")
    return JobEvent.objects.filter(job__request=found).values_list(*columns)
