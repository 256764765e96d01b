"""A job request as it is asked for, and all that can be said against it without leaving the controller.

Ids RQ are those of project-yaml.md section 7.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from jobrunner.controller.accounts.models import PersonalToken
from jobrunner.controller.accounts.tokens import NotAllowed, check_can_use, usable_projects
from jobrunner.controller.projects.approvals import not_covered
from jobrunner.controller.projects.models import Backend, Project
from jobrunner.study import (
    CommitNotFound,
    GitRules,
    RepositoryNotAllowed,
    check_branch,
    check_commit,
    parse_repository_url,
)
from jobrunner.study.repository_url import parse_prefix


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks for. `client_key` is theirs: the same key is the same request."""

    client_key: str
    project: str
    backend: str
    repo: str
    branch: str
    commit: str
    actions: tuple[str, ...]
    force: bool

    def digest(self) -> str:
        """Tells two bodies under one key apart."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: a stable id, one sentence, and for RQ002 what is wrong in project.yaml."""

    id: str
    message: str
    problems: tuple[dict[str, str | int | None], ...] = ()


class RequestRefused(Exception):
    """The request is refused as a whole and nothing is stored."""

    def __init__(self, status: int, complaints: Iterable[Complaint]) -> None:
        self.status = status
        self.complaints = tuple(complaints)
        super().__init__("; ".join(complaint.message for complaint in self.complaints))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request without offline complaints goes."""

    project: Project
    backend: Backend


def check_offline(ask: Ask, token: PersonalToken, rules: GitRules, *, now: datetime) -> Target:
    """Project and backend of the request; raises RequestRefused with every complaint found."""
    project = Project.objects.filter(slug=ask.project).first()
    backend = Backend.objects.filter(slug=ask.backend).first()
    complaints = [
        *_about_actions(ask),
        *_about_project(ask, project, token),
        *_about_backend(ask, backend),
        *_about_repository(ask, rules),
        *_about_commit(ask),
    ]
    if complaints:
        raise RequestRefused(422, complaints)
    if project is None or backend is None:
        raise RequestRefused(422, [Complaint("RQ005", "There is no such project or backend.")])
    try:
        check_can_use(token, project)
    except NotAllowed as error:
        raise RequestRefused(403, [Complaint("not_allowed", str(error))]) from error
    check_approved(ask, project, ask.actions, now=now)
    return Target(project, backend)


def check_approved(ask: Ask, project: Project, actions: tuple[str, ...], *, now: datetime) -> None:
    """Raise RequestRefused (403) unless the newest approval covers these actions; `run_all` is no action."""
    refused = not_covered(
        project,
        backend=ask.backend,
        repo=ask.repo,
        branch=ask.branch,
        commit=ask.commit,
        actions=tuple(action for action in actions if action != "run_all"),
        now=now,
    )
    if refused is not None:
        raise RequestRefused(403, [Complaint(refused.id, refused.message)])


def _about_actions(ask: Ask) -> Iterable[Complaint]:
    if not ask.actions or not all(ask.actions):
        yield Complaint("RQ003", "No action was asked for. Name at least one, or `run_all`.")


def _about_project(ask: Ask, project: Project | None, token: PersonalToken) -> Iterable[Complaint]:
    if project is None:
        yield Complaint(
            "RQ005", f"There is no project `{ask.project}`. Known are: {_listed(usable_projects(token))}."
        )


def _about_backend(ask: Ask, backend: Backend | None) -> Iterable[Complaint]:
    if backend is None:
        known = Backend.objects.order_by("slug").values_list("slug", flat=True)
        yield Complaint("RQ006", f"There is no backend `{ask.backend}`. Known are: {_listed(known)}.")


def _about_repository(ask: Ask, rules: GitRules) -> Iterable[Complaint]:
    try:
        parse_repository_url(ask.repo, rules)
    except RepositoryNotAllowed as error:
        if error.detail == "url" and _is_well_formed(ask.repo, rules):
            yield Complaint(
                "RQ009",
                f"The owner in `{ask.repo}` is not allowed here. Allowed: {_listed(rules.allowed_prefixes)}.",
            )
        else:
            yield Complaint(
                "RQ008", f"The repository is given as `{ask.repo}`. Write https://github.com/owner/name."
            )


def _is_well_formed(url: str, rules: GitRules) -> bool:
    try:
        parse_prefix(url, rules.allow_loopback_http)
    except ValueError:
        return False
    return True


def _about_commit(ask: Ask) -> Iterable[Complaint]:
    if not ask.branch:
        yield Complaint("RQ010", "Say which branch the commit is on.")
    else:
        try:
            check_branch(ask.branch)
        except CommitNotFound:
            yield Complaint("RQ011", f"`{ask.branch}` is not a usable branch name.")
    try:
        check_commit(ask.commit)
    except CommitNotFound:
        yield Complaint("RQ012", f"`{ask.commit}` is not a commit. Write all its 40 digits, in lower case.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
