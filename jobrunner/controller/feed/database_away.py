"""What readers are told while the database does not answer: come back soon."""

import logging
from collections.abc import Callable
from typing import Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse

from jobrunner.controller.feed import error_views

COME_BACK_S: Final = 15
_SENTENCE: Final = "The database does not answer at the moment. What runs goes on. Try again in a minute."

_log = logging.getLogger(__name__)


class DatabaseAway:
    """Middleware: 503 with Retry-After in the place of a page that could not be made without the database.

    The API for people's programs says so itself, and so do the agents' API and the live stream.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer to an error of a view; None for one that is not about the database being away."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        _log.error("the database did not answer a reader", exc_info=error)
        response = _answer(request)
        response.headers["Retry-After"] = str(COME_BACK_S)
        response.headers["Cache-Control"] = "no-store"
        return response


def _answer(request: HttpRequest) -> HttpResponse:
    if request.path.endswith(".json"):
        return JsonResponse({"errors": [{"id": "busy", "message": _SENTENCE}]}, status=503)
    return error_views.unavailable(request, _SENTENCE)
