"""Personal tokens: making one, finding whose it is, ending it, and what it may do."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from jobrunner.controller.accounts import secret_text
from jobrunner.controller.accounts.models import Person, PersonalToken
from jobrunner.controller.projects.models import Membership, Project

MAX_DAYS: Final = 366
_USE_NOTED_EVERY: Final = timedelta(minutes=1)


class NotAllowed(Exception):
    """The person, or this token of theirs, may not do that; the text says why."""


def create(person: Person, projects: Iterable[Project], *, days: int, now: datetime) -> str:
    """Make a token that ends after 1 to 366 days and return its text, which cannot be shown again."""
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"A token lives from 1 to {MAX_DAYS} days.")
    secret = secret_text.new(secret_text.PERSONAL)
    token = PersonalToken.objects.create(
        person=person,
        digest=secret_text.digest(secret),
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    token.projects.set(projects)
    return secret


def revoke(token: PersonalToken, *, now: datetime) -> None:
    """End a token at once."""
    PersonalToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now)


def find(secret: str, *, now: datetime) -> PersonalToken | None:
    """The living token with this text, of a person who may still sign in."""
    token = PersonalToken.objects.select_related("person").filter(digest=secret_text.digest(secret)).first()
    if token is None:
        return None
    if token.expires_at <= now:
        return None
    if token.revoked_at is not None:
        return None
    if not token.person.is_active:
        return None
    if token.last_used_at is None or now - token.last_used_at > _USE_NOTED_EVERY:
        PersonalToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def check_can_use(token: PersonalToken, project: Project) -> None:
    """Raise NotAllowed unless the token is for this project and its person is still a member of it."""
    if not token.projects.filter(pk=project.pk).exists():
        raise NotAllowed(f"This token is not for project `{project.slug}`. Ask for one that is.")
    if not Membership.objects.filter(person=token.person, project=project).exists():
        raise NotAllowed(f"You are not a member of project `{project.slug}`.")


def usable(token: PersonalToken) -> QuerySet[Project]:
    """The projects that the token may be used for: those it names, of which its person is still a member."""
    return token.projects.filter(membership__person=token.person)


def usable_projects(token: PersonalToken) -> list[str]:
    """Slugs of the projects that the token may be used for."""
    return list(usable(token).order_by("slug").values_list("slug", flat=True))
