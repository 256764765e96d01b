"""The public pages about projects, data centres, and what all this is."""

from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobrunner.controller.feed.approval_facts import approvals_of
from jobrunner.controller.feed.glossary import glossary
from jobrunner.controller.feed.listing import count_by_state, digest
from jobrunner.controller.feed.showing import show
from jobrunner.controller.feed.views import page_of
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.projects.models import Backend, Membership, Project

_SHOWN = 20
_ACTIVE = Q(requests__state__in=[State.RUNNING.value, State.PENDING.value])


@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """All projects by title, with how much each has asked for."""
    found = Project.objects.annotate(
        asked=Count("requests"), active=Count("requests", filter=_ACTIVE)
    ).order_by("title", "slug")
    columns = ("slug", "title", "purpose", "asked", "active")
    return show(request, "projects", {"projects": found.values(*columns)}, now=timezone.now(), part=False)


@require_safe
def project(request: HttpRequest, slug: str, *, part: bool = False) -> HttpResponse:
    """One project: why it is done, who allowed it, and all that it ever asked for."""
    now = timezone.now()
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        raise Http404
    requests = JobRequest.objects.filter(project=found)
    shown = page_of(request, requests, now=now)
    path = reverse("project", args=[slug])
    context: dict[str, Any] = {
        "slug": found.slug,
        "title": found.title,
        "purpose": found.purpose,
        "legal_basis": found.legal_basis,
        "created_at": found.created_at,
        "approvals": approvals_of(found, now=now),
        "member_count": Membership.objects.filter(project=found).count(),
        "askers": sorted(requests.order_by().values_list("person__username", flat=True).distinct()),
        "counts": count_by_state(requests).items(),
        "page": shown,
        "older": shown.older and f"{path}?before={shown.older}",
        "newer": shown.newer and f"{path}?after={shown.newer}",
        "query": request.GET.urlencode(),
    }
    return show(request, "project", context, now=now, part=part)


@require_safe
def backends(request: HttpRequest) -> HttpResponse:
    """All data centres, and whether they are at work."""
    running = Count("requests", filter=Q(requests__state=State.RUNNING.value))
    waiting = Count("requests", filter=Q(requests__state=State.PENDING.value))
    found = Backend.objects.annotate(running=running, waiting=waiting).order_by("title", "slug")
    columns = ("slug", "title", "paused", "last_seen_at", "running", "waiting")
    return show(request, "backends", {"backends": found.values(*columns)}, now=timezone.now(), part=False)


@require_safe
def backend(request: HttpRequest, slug: str, *, part: bool = False) -> HttpResponse:
    """One data centre: whether it is there, and what it does."""
    now = timezone.now()
    found = Backend.objects.filter(slug=slug).first()
    if found is None:
        raise Http404
    requests = JobRequest.objects.filter(backend=found)
    keys = {
        state: list(requests.filter(state=state.value).order_by("-pk").values_list("pk", flat=True)[:_SHOWN])
        for state in (State.RUNNING, State.PENDING)
    }
    digests = digest([*keys[State.RUNNING], *keys[State.PENDING]], now=now)
    context: dict[str, Any] = {
        "slug": found.slug,
        "title": found.title,
        "paused": found.paused,
        "last_seen_at": found.last_seen_at,
        "counts": count_by_state(requests).items(),
        "running": digests[: len(keys[State.RUNNING])],
        "waiting": digests[len(keys[State.RUNNING]) :],
    }
    return show(request, "backend", context, now=now, part=part)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """What this is, in plain words, and what every state and reason means."""
    context = {"glossary": glossary(), "contact": settings.CONFIGURATION.contact}
    return show(request, "about", context, now=timezone.now(), part=False)
