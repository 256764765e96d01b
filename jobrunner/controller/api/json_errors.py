"""Every error under /api/ is JSON: a program must never take a page for an answer (threats.md P05)."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse


def json_errors(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that puts an error object in the place of a page."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if response.status_code < 400 or is_json or not request.path.startswith("/api/"):
            return response
        message = f"{HTTPStatus(response.status_code).phrase}."
        body = {"errors": [{"id": f"http_{response.status_code}", "message": message}]}
        replaced = JsonResponse(body, status=response.status_code)
        if "Allow" in response.headers:
            replaced.headers["Allow"] = response.headers["Allow"]
        return replaced

    return answer
