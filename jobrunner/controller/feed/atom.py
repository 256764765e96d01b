"""The public feed for feed readers: one Atom entry for each job request, updated when it changed.

The same fields as on the pages, and nothing that depends on when it is read, so that an unchanged feed is
the same bytes and is answered with 304.
"""

import hashlib
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.feedgenerator import Atom1Feed
from django.utils.html import escape
from django.utils.http import http_date
from django.views.decorators.http import require_safe

from jobrunner.controller.jobs.models import Job, JobEvent, JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.jobs.why import MEANING
from jobrunner.controller.projects.models import Project

ENTRIES: Final = 50
# How far back to look for older requests that changed lately.
_EVENTS: Final = 5000
_ACTIONS: Final = 5
_SETTLED_S: Final = 5
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Feed(Atom1Feed):
    def latest_post_date(self) -> datetime:
        # An empty feed would be dated with the time of reading.
        return super().latest_post_date() if self.items else _NEVER


@require_safe
def feed_atom(request: HttpRequest, slug: str | None = None) -> HttpResponseBase:
    """The requests that changed last; of one project, by its slug or `?project=`."""
    project = _project(slug if slug is not None else request.GET.get("project"))
    found = _changed_last(project)
    feed = _head(request, project)
    outcomes = _outcomes(found)
    for one in found:
        _add(feed, request, one, outcomes[one.pk])
    body = feed.writeString("utf-8").encode()
    response = HttpResponse(body, content_type=feed.content_type)
    # Readers of the same feed may share a copy; it is at most a minute old.
    response.headers["Cache-Control"] = "public, max-age=60"
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    response.headers["ETag"] = etag
    last = _last_modified(feed)
    if last is not None:
        response.headers["Last-Modified"] = http_date(last)
    return get_conditional_response(request, etag=etag, last_modified=last, response=response) or response


def _last_modified(feed: _Feed) -> int | None:
    """Seconds since 1970; None while the same second may bring a change that asking by date would miss."""
    last = int(feed.latest_post_date().timestamp())
    return last if time.time() - last > _SETTLED_S else None


def _project(slug: str | None) -> Project | None:
    if slug is None:
        return None
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        raise Http404
    return project


def _changed_last(project: Project | None) -> list[JobRequest]:
    """At most 50 requests, the one that changed last first; `changed_at` is when any of its jobs did."""
    requests, events = JobRequest.objects.all(), JobEvent.objects.all()
    if project is not None:
        requests, events = requests.filter(project=project), events.filter(job__request__project=project)
    newest = JobEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
    lately = (
        events.filter(pk__gt=newest - _EVENTS)
        .values("job__request")
        .annotate(last=Max("pk"))
        .order_by("-last")
        .values_list("job__request", flat=True)[:ENTRIES]
    )
    youngest = requests.order_by("-pk").values_list("pk", flat=True)[:ENTRIES]
    return list(
        JobRequest.objects.filter(pk__in=[*lately, *youngest])
        .select_related("project", "backend", "person")
        .annotate(changed_at=Max("jobs__changed_at"))
        .order_by("-changed_at", "-pk")[:ENTRIES]
    )


def _head(request: HttpRequest, project: Project | None) -> _Feed:
    if project is None:
        title, about, path = "What runs", "Every request to run code on records.", reverse("feed-atom")
    else:
        title, about = f"What runs: {project.title}", project.purpose
        path = reverse("project-atom", args=[project.slug])
    return _Feed(
        title=_plain(title),
        link=_absolute(request, reverse("front")),
        description=_plain(about),
        language="en",
        author_name="jobrunner",
        feed_url=_absolute(request, path),
        feed_guid=_tag(_NEVER if project is None else project.created_at, path.strip("/")),
    )


def _add(feed: _Feed, request: HttpRequest, one: JobRequest, outcome: str) -> None:
    feed.add_item(
        title=_plain(f"{one.project.title}: {_listed(one.actions)} ({one.state})"),
        link=_absolute(request, reverse("job-request", args=[one.request_id])),
        # The generator declares it as HTML.
        description=escape(_plain(outcome)),
        author_name=one.person.username,
        pubdate=one.created_at,
        updateddate=getattr(one, "changed_at", None) or one.created_at,
        unique_id=_tag(one.created_at, f"request/{one.request_id}"),
        categories=(one.project.slug, one.backend.slug, one.state),
    )


def _outcomes(requests: Iterable[JobRequest]) -> dict[int, str]:
    """What became of the jobs of each request: one sentence for each state and reason among them."""
    told = {one.pk: [f"At {one.backend.slug}, commit {one.commit}."] for one in requests}
    jobs = Job.objects.filter(request__in=list(told)).values_list("request", "state", "reason")
    groups = jobs.annotate(count=Count("pk")).order_by("request", "state", "reason")
    for request, state, reason, count in groups:
        meaning = MEANING.get((State(state), reason), f"{reason.replace('_', ' ').capitalize()}.")
        told[request].append(f"{count} {'action is' if count == 1 else 'actions are'} {state}: {meaning}")
    return {request: " ".join(sentences) for request, sentences in told.items()}


def _listed(actions: Iterable[str]) -> str:
    named = list(actions)
    others = len(named) - _ACTIONS
    return ", ".join(named[:_ACTIONS]) + (f" and {others} more" if others > 0 else "")


def _absolute(request: HttpRequest, path: str) -> str:
    """A link on the host that was asked for, which Django has checked against ours."""
    # Behind the proxy that ends TLS every request looks like plain http.
    scheme = "https" if settings.CONFIGURATION.mode == "production" else "http"
    return f"{scheme}://{request.get_host()}{path}"


def _tag(minted: datetime, specific: str) -> str:
    """A tag: URI (RFC 4151). It names our first host, so that it is the same whichever one is asked."""
    authority = settings.CONFIGURATION.hosts[0].lstrip(".")
    return f"tag:{authority},{minted:%Y-%m-%d}:{specific}"


def _plain(text: str) -> str:
    """Text without the signs that XML cannot say."""
    return _NOT_XML.sub("\ufffd", text)
