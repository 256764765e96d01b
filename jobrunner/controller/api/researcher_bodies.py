"""The bodies of the researchers' API: what is taken, and the closed lists of what is told (wall W11)."""

from datetime import datetime
from typing import Any

from ninja import Field, Schema
from pydantic import ConfigDict


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


class LaterFailureOut(Schema):
    """A run of the same action that failed after the one that serves."""

    request_id: str
    commit: str
    reason: str
    finished_at: datetime


class ServingOut(Schema):
    """The earlier run that serves. `same_commit`: whether it ran the commit that was asked for."""

    request_id: str
    commit: str
    same_commit: bool
    finished_at: datetime
    failed_since: LaterFailureOut | None


class ReusedOut(ServingOut):
    """An action for which an earlier run serves."""

    action: str
    page: str


class AlreadyOut(Schema):
    """An action that waits or runs already, under an earlier request."""

    action: str
    state: str
    request_id: str
    asked_by: str
    commit: str
    same_commit: bool
    page: str


class CauseOut(Schema):
    """An action that did not succeed and so kept another one from running."""

    action: str
    state: str
    reason: str
    request_id: str


class JobOut(Schema):
    """One job: where it is, and why in plain words. `running_s`: seconds so far of what runs."""

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
    running_s: int | None
    reused_request: str | None
    reused_commit: str | None
    code_repo: str | None
    code_tag: str | None
    code_commit: str | None
    serving: ServingOut | None
    causes: list[CauseOut]


class RequestOut(Schema):
    """A job request with its jobs. `counts` and `summary` do not count as failed what never ran."""

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
    counts: dict[str, int]
    summary: str
    jobs: list[JobOut]


class RequestRowOut(Schema):
    """A job request in a list."""

    request_id: str
    created_at: datetime
    project: str
    backend: str
    branch: str
    commit: str
    actions: list[str]
    state: str
    counts: dict[str, int]
    summary: str
    page: str


class OwnRequestsOut(Schema):
    """A person's last requests, newest first."""

    requests: list[RequestRowOut]


class CreatedOut(Schema):
    """The stored request; null with a sentence when there was nothing to do.

    `reused`: what an earlier run serves for. `already`: what waits or runs under an earlier request.
    """

    message: str
    request: RequestOut | None
    reused: list[ReusedOut]
    already: list[AlreadyOut]


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
