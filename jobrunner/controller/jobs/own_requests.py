"""A person's own requests, newest first."""

from heapq import nlargest
from typing import Final

from jobrunner.controller.accounts.models import PersonalToken
from jobrunner.controller.accounts.tokens import usable
from jobrunner.controller.jobs.models import JobRequest

NEWEST: Final = 20


def own_requests(token: PersonalToken) -> list[JobRequest]:
    """The last 20 requests of the token's person, in the projects that the token may be used for."""
    keys: list[int] = []
    for project in usable(token):
        # One look into an index for each, since no index gives the newest of several projects together.
        mine = JobRequest.objects.filter(person=token.person, project=project).order_by("-pk")
        keys += mine.values_list("pk", flat=True)[:NEWEST]
    found = JobRequest.objects.select_related("project", "workspace", "backend")
    return list(found.filter(pk__in=nlargest(NEWEST, keys)).order_by("-pk"))
