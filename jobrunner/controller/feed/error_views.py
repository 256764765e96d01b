"""Pages for what went wrong: a sentence on what to do next, never a traceback."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from jobrunner.controller.feed.filters import BadFilter


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


def unavailable(request: HttpRequest, advice: str) -> HttpResponse:
    """503."""
    return _error(request, 503, "This page cannot be shown right now", advice)


def bad_filter(request: HttpRequest, bad: BadFilter, choices: dict[str, Any]) -> HttpResponse:
    """400 or 404 for a filter that cannot be meant, with the form to choose again."""
    context = {"status": bad.status, "title": "These filters fit nothing", "advice": str(bad), **choices}
    return _render(request, context)


def _error(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    return _render(request, {"status": status, "title": title, "advice": advice})


def _render(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    context["now"] = timezone.now()
    return render(request, "feed/error.html", context, status=context["status"])
