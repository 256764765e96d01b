"""What an operator makes at the controller: people, projects, backends; and pausing a backend."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction

from jobrunner.controller.accounts import secret_text
from jobrunner.controller.accounts.models import Person
from jobrunner.controller.projects.models import Backend, Membership, Project
from jobrunner.sync.signing import check_public_key

_SLUG: Final = re.compile(r"[a-z0-9-]{1,40}")


class RegisterProblem(ValueError):
    """Something that cannot be made; the text says why and what to do."""


def _check_slug(kind: str, slug: str) -> None:
    if not _SLUG.fullmatch(slug):
        raise RegisterProblem(f"A {kind} is named with 1 to 40 of a-z, 0-9 and `-`; `{slug}` is not.")


def create_project(
    slug: str, *, title: str, purpose: str, legal_basis: str, update: bool, now: datetime
) -> tuple[Project, bool]:
    """Make a project, or with `update` change its texts; the second value says whether it is new."""
    _check_slug("project", slug)
    texts: Mapping[str, str] = {"title": title, "purpose": purpose, "legal_basis": legal_basis}
    for name, text in texts.items():
        if not text.strip():
            raise RegisterProblem(f"Say the project's {name.replace('_', ' ')}; the public feed shows it.")
    if update:
        return Project.objects.update_or_create(
            slug=slug, defaults=texts, create_defaults={**texts, "created_at": now}
        )
    try:
        with transaction.atomic():
            return Project.objects.create(slug=slug, created_at=now, **texts), True
    except IntegrityError as error:
        raise RegisterProblem(
            f"Project `{slug}` exists already. Add --update to change its texts."
        ) from error


def create_backend(slug: str, *, title: str, public_key: str, now: datetime) -> tuple[Backend, str]:
    """Make a backend for the holder of a key; returns it with its agent's credential, shown only now.

    Raises RegisterProblem when it exists, KeyProblem when the key is none.
    """
    _check_slug("backend", slug)
    check_public_key(public_key)
    secret = secret_text.new(secret_text.BACKEND)
    try:
        with transaction.atomic():
            backend = Backend.objects.create(
                slug=slug,
                title=title or slug,
                public_key=public_key,
                credential_digest=secret_text.digest(secret),
                created_at=now,
            )
    except IntegrityError as error:
        raise RegisterProblem(
            f"Backend `{slug}` exists already. To give its agent a new credential, add --renew."
        ) from error
    return backend, secret


def renew_backend(slug: str, *, public_key: str) -> tuple[Backend, str]:
    """Replace key and credential of a backend; what its agent used before ends at once."""
    check_public_key(public_key)
    secret = secret_text.new(secret_text.BACKEND)
    changes = {"public_key": public_key, "credential_digest": secret_text.digest(secret)}
    if Backend.objects.filter(slug=slug).update(**changes) != 1:
        raise RegisterProblem(f"There is no backend `{slug}`.")
    return Backend.objects.get(slug=slug), secret


def join(username: str, projects: tuple[str, ...], *, now: datetime) -> tuple[Person, list[Project]]:
    """The person of that name, made where missing, as a member of these projects."""
    _check_slug("person", username)
    found = {project.slug: project for project in Project.objects.filter(slug__in=projects)}
    for slug in projects:
        if slug not in found:
            raise RegisterProblem(
                f"There is no project `{slug}`. Make it first: jobrunner controller create-project."
            )
    with transaction.atomic():
        person, new = Person.objects.get_or_create(username=username)
        if new:
            person.set_unusable_password()
            person.save(update_fields=["password"])
        for project in found.values():
            Membership.objects.get_or_create(person=person, project=project, defaults={"created_at": now})
    return person, list(found.values())
