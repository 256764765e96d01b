"""The API for people's programs: ask for jobs, look at a request, cancel it (wall W11)."""

import logging
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser
from ninja.security import HttpBearer

from jobrunner import __version__
from jobrunner.controller.accounts import tokens
from jobrunner.controller.accounts.models import PersonalToken
from jobrunner.controller.api.agent_openapi import with_agent_calls
from jobrunner.controller.api.researcher_bodies import (
    CancelOut,
    CreatedOut,
    ErrorsOut,
    OwnRequestsOut,
    RequestIn,
    RequestOut,
)
from jobrunner.controller.configuration import Configuration
from jobrunner.controller.feed.database_away import COME_BACK_S
from jobrunner.controller.jobs.answering import tell
from jobrunner.controller.jobs.asking import Ask, Complaint, RequestRefused
from jobrunner.controller.jobs.cancelling import cancel_request
from jobrunner.controller.jobs.describing import RequestFacts, describe
from jobrunner.controller.jobs.intake import Studies, ask_for_jobs
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.own_requests import own_requests
from jobrunner.controller.jobs.reusable import Shelf
from jobrunner.controller.jobs.tally import summary, tallies
from jobrunner.study import GitRules, Mirrors
from jobrunner.sync import strict_json

_log = logging.getLogger(__name__)

_MAX_BODY_BYTES: Final = 64 * 1024


class StrictParser(Parser):
    """Reads bodies as bounded JSON without doubt about what it says (threats.md P06)."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        kind = (request.content_type or "").lower()
        if kind != "application/json":
            raise RequestRefused(415, [Complaint("not_json", "Send the body as application/json.")])
        try:
            value = strict_json.parse(request.body, limit=_MAX_BODY_BYTES)
        except strict_json.NotStrictJson as error:
            raise RequestRefused(
                400, [Complaint("malformed", f"The body cannot be taken: {error}.")]
            ) from error
        if not isinstance(value, dict):
            raise RequestRefused(400, [Complaint("malformed", "The body must be a JSON object.")])
        return value


class PersonalBearer(HttpBearer):
    """`Authorization: Bearer <personal token>`."""

    def authenticate(self, request: HttpRequest, token: str) -> PersonalToken | None:
        return tokens.find(token, now=timezone.now())


class ControllerAPI(NinjaAPI):
    """The API whose description names the agents' calls too, though another layer answers them."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        return with_agent_calls(super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params))


api = ControllerAPI(
    title="jobrunner controller",
    version=__version__,
    description="Ask for jobs, look at them, cancel them. Agents use the calls under `agent/`.",
    docs_url=None,
    parser=StrictParser(),
    urls_namespace="api-v1",
)
bearer = PersonalBearer()
_ERRORS: Final = dict.fromkeys((400, 401, 403, 404, 409, 415, 422, 503), ErrorsOut)


@lru_cache(maxsize=1)
def _studies() -> Studies:
    chosen: Configuration = settings.CONFIGURATION
    if chosen.data is None:
        raise RequestRefused(503, [Complaint("no_data_folder", "This controller has no data folder.")])
    loopback = chosen.mode != "production"
    rules = GitRules(allowed_prefixes=chosen.git_prefixes, allow_loopback_http=loopback)
    reusable = GitRules(allowed_prefixes=(chosen.reusable_prefix,), allow_loopback_http=loopback)
    folder = chosen.data / "mirrors"
    shelf = Shelf(Mirrors(folder, reusable), chosen.reusable_prefix)
    return Studies(Mirrors(folder, rules), rules, shelf, chosen.git_deadline_s)


@api.post("requests", auth=bearer, response={200: CreatedOut, 201: CreatedOut, **_ERRORS})
def create_request(request: HttpRequest, asked: RequestIn) -> tuple[int, dict[str, Any]]:
    """Ask for jobs. The same `client_key` with the same body gives the same request again."""
    now = timezone.now()
    fields = asked.model_dump()
    ask = Ask(**(fields | {"actions": tuple(fields["actions"])}))
    answer = ask_for_jobs(ask, _token(request), _studies(), now=now)
    told = tell(answer, ask.commit, now=now)
    body = {
        "message": told.message,
        "request": None if told.request is None else _as_json(told.request),
        "reused": [
            {"action": action, "page": _page(run.request_id), **asdict(run)}
            for action, run in told.reused.items()
        ],
        "already": [asdict(one) | {"page": _page(one.request_id)} for one in told.already],
    }
    return 201 if answer.new else 200, body


@api.get("requests", auth=bearer, response={200: OwnRequestsOut, **_ERRORS})
def get_own_requests(request: HttpRequest) -> dict[str, Any]:
    """The last 20 requests of the token's person in the token's projects, newest first."""
    found = own_requests(_token(request))
    counts = tallies([one.pk for one in found])
    return {"requests": [_row(one, counts[one.pk]) for one in found]}


@api.get("requests/{request_id}", auth=bearer, response={200: RequestOut, **_ERRORS})
def get_request(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """A job request as it is now."""
    return _out(_find(request, request_id))


@api.post("requests/{request_id}/cancel", auth=bearer, response={200: CancelOut, **_ERRORS})
def cancel(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """Cancel what has not ended. Waiting jobs end at once, running ones when the data centre confirms it."""
    found = _find(request, request_id)
    count = cancel_request(found, _token(request).person, now=timezone.now())
    message = {0: "Nothing was left to cancel.", 1: "1 job is cancelled or will stop."}
    return {
        "message": message.get(count, f"{count} jobs are cancelled or will stop."),
        "request": _out(found),
    }


def _token(request: HttpRequest) -> PersonalToken:
    token = getattr(request, "auth", None)
    if not isinstance(token, PersonalToken):
        raise AuthenticationError
    return token


def _find(request: HttpRequest, request_id: str) -> JobRequest:
    found = JobRequest.objects.select_related("project").filter(request_id=request_id).first()
    if found is None:
        raise RequestRefused(404, [Complaint("not_found", "There is no such job request.")])
    try:
        tokens.check_can_use(_token(request), found.project)
    except tokens.NotAllowed as error:
        raise RequestRefused(403, [Complaint("not_allowed", str(error))]) from error
    return found


def _out(request: JobRequest) -> dict[str, Any]:
    (facts,) = describe([request], now=timezone.now())
    return _as_json(facts)


def _as_json(facts: RequestFacts) -> dict[str, Any]:
    counts = facts.counts
    return asdict(facts) | {
        "finished": facts.finished,
        "page": _page(facts.request_id),
        "counts": counts,
        "summary": summary(counts),
        "jobs": [
            asdict(job) | {"reused_request": job.reused_request, "reused_commit": job.reused_commit}
            for job in facts.jobs
        ],
    }


def _row(request: JobRequest, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "created_at": request.created_at,
        "project": request.project.slug,
        "backend": request.backend.slug,
        "branch": request.workspace.branch,
        "commit": request.commit,
        "actions": request.actions,
        "state": request.state,
        "counts": counts,
        "summary": summary(counts),
        "page": _page(request.request_id),
    }


def _page(request_id: str) -> str:
    return f"/jobs/{request_id}"


def _errors(request: HttpRequest, status: int, complaints: tuple[Complaint, ...]) -> HttpResponse:
    errors = []
    for complaint in complaints:
        error: dict[str, Any] = {"id": complaint.id, "message": complaint.message}
        if complaint.problems:
            error["problems"] = list(complaint.problems)
        errors.append(error)
    return api.create_response(request, {"errors": errors}, status=status)


@api.exception_handler(RequestRefused)
def _refused(request: HttpRequest, error: RequestRefused) -> HttpResponse:
    return _errors(request, error.status, error.complaints)


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    complaints = tuple(
        Complaint("malformed", f"{'.'.join(str(part) for part in item['loc'][2:]) or 'body'}: {item['msg']}")
        for item in error.errors[:20]
    )
    return _errors(request, 400, complaints)


@api.exception_handler(AuthenticationError)
def _not_signed_in(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    message = "The token is missing, unknown or has ended. Ask for a new one."
    response = _errors(request, 401, (Complaint("not_signed_in", message),))
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(InterfaceError)
@api.exception_handler(OperationalError)
def _database_away(request: HttpRequest, error: Error) -> HttpResponse:
    """The database is locked, restarting or gone: nothing was changed, and asking again is right."""
    _log.error("the database did not answer a person", exc_info=error)
    response = _errors(request, 503, (Complaint("busy", "The database is busy. Try again in a moment."),))
    response.headers["Retry-After"] = str(COME_BACK_S)
    return response


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, RequestRefused):
        # What StrictParser said about the body; the framework wraps it.
        return _refused(request, error.__cause__)
    return _errors(request, error.status_code, (Complaint("malformed", str(error)),))
