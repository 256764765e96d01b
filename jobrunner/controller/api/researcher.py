"""The API for people's programs: ask for jobs, look at a request, cancel it (wall W11)."""

import logging
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Field, NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser
from ninja.security import HttpBearer
from pydantic import ConfigDict

from jobrunner import __version__
from jobrunner.controller.accounts import tokens
from jobrunner.controller.accounts.models import PersonalToken
from jobrunner.controller.api.agent_openapi import with_agent_calls
from jobrunner.controller.configuration import Configuration
from jobrunner.controller.jobs.asking import Ask, Complaint, RequestRefused
from jobrunner.controller.jobs.cancelling import cancel_request
from jobrunner.controller.jobs.describing import RequestFacts, describe
from jobrunner.controller.jobs.intake import Studies, ask_for_jobs
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.reusable import Shelf
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


class RequestIn(Schema):
    """What is asked for. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)
    client_key: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    project: str = Field(max_length=100)
    backend: str = Field(max_length=100)
    repo: str = Field(max_length=400)
    branch: str = Field(max_length=300)
    commit: str = Field(max_length=100)
    actions: list[str] = Field(max_length=2000)
    force: bool = False


class JobOut(Schema):
    """One job: where it is, and why in one sentence."""

    job_id: str
    action: str
    state: str
    reason: str
    why: str
    next_step: str
    log: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reused_request: str | None
    reused_commit: str | None
    code_repo: str | None
    code_tag: str | None
    code_commit: str | None


class RequestOut(Schema):
    """A job request with its jobs."""

    request_id: str
    project: str
    workspace: str
    backend: str
    asked_by: str
    repo: str
    branch: str
    commit: str
    actions: list[str]
    state: str
    created_at: datetime
    finished_at: datetime | None
    finished: bool
    page: str
    jobs: list[JobOut]


class CreatedOut(Schema):
    """The stored request; null with a sentence when there was nothing to do."""

    message: str
    request: RequestOut | None


class CancelOut(Schema):
    """How many jobs end because of it, and the request as it is now."""

    message: str
    request: RequestOut


class ErrorOut(Schema):
    """One thing that is wrong. `problems` is there for RQ002 only."""

    id: str
    message: str
    problems: list[dict[str, Any]] | None = None


class ErrorsOut(Schema):
    """Everything that is wrong with a call."""

    errors: list[ErrorOut]


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
def create_request(request: HttpRequest, body: RequestIn) -> tuple[int, dict[str, Any]]:
    """Ask for jobs. The same `client_key` with the same body gives the same request again."""
    now = timezone.now()
    fields = body.model_dump()
    ask = Ask(**(fields | {"actions": tuple(fields["actions"])}))
    answer = ask_for_jobs(ask, _token(request), _studies(), now=now)
    if answer.request is None:
        return 200, {"message": answer.nothing_to_do, "request": None}
    message = "Asked for." if answer.new else "Asked for before, with the same key."
    return 201 if answer.new else 200, {"message": message, "request": _out(answer.request)}


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
    return asdict(facts) | {"finished": facts.finished, "page": f"/jobs/{facts.request_id}"}


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
    return _errors(request, 503, (Complaint("busy", "The database is busy. Try again in a moment."),))


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, RequestRefused):
        # What StrictParser said about the body; the framework wraps it.
        return _refused(request, error.__cause__)
    return _errors(request, error.status_code, (Complaint("malformed", str(error)),))
