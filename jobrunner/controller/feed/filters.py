"""What a list of requests may be narrowed by, read from an address; what cannot be meant is refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode

from django.db.models import QuerySet

from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.projects.models import Backend, Project

_DAY: Final = timedelta(days=1)
NAMES: Final = ("project", "backend", "state", "from", "to")


class BadFilter(Exception):
    """A filter that cannot be meant; `status` is 400, or 404 for something that does not exist."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Filters:
    """Narrows a list of requests. Dates are days in UTC on which a request was made, both included."""

    project: str = ""
    backend: str = ""
    state: State | None = None
    since: date | None = None
    until: date | None = None

    def apply(self, requests: QuerySet[JobRequest]) -> QuerySet[JobRequest]:
        """The requests that match all of it."""
        if self.project:
            requests = requests.filter(project__slug=self.project)
        if self.backend:
            requests = requests.filter(backend__slug=self.backend)
        if self.state is not None:
            requests = requests.filter(state=self.state.value)
        if self.since is not None:
            requests = requests.filter(created_at__gte=_midnight(self.since))
        if self.until is not None:
            requests = requests.filter(created_at__lt=_midnight(self.until) + _DAY)
        return requests

    def query(self, **more: str) -> str:
        """The same filters as the query of an address, with `more` after them."""
        values = {
            "project": self.project,
            "backend": self.backend,
            "state": "" if self.state is None else self.state.value,
            "from": "" if self.since is None else self.since.isoformat(),
            "to": "" if self.until is None else self.until.isoformat(),
        } | more
        return urlencode({name: value for name, value in values.items() if value})


def read_filters(given: Mapping[str, str]) -> Filters:
    """The filters of an address; an empty value filters nothing. Raises BadFilter."""
    since, until = _day(given, "from"), _day(given, "to")
    if since is not None and until is not None and since > until:
        raise BadFilter(400, "The first day is after the last one. Swap `from` and `to`.")
    return Filters(
        project=_slug(given, "project", Project.objects.values_list("slug", flat=True)),
        backend=_slug(given, "backend", Backend.objects.values_list("slug", flat=True)),
        state=_state(given),
        since=since,
        until=until,
    )


def _slug(given: Mapping[str, str], name: str, known: QuerySet[Project, str] | QuerySet[Backend, str]) -> str:
    slug = given.get(name, "")
    if slug and not known.filter(slug=slug).exists():
        what = {"project": "project", "backend": "data centre"}[name]
        raise BadFilter(404, f"There is no {what} of that name. Choose one from the list.")
    return slug


def _state(given: Mapping[str, str]) -> State | None:
    word = given.get("state", "")
    if not word:
        return None
    try:
        return State(word)
    except ValueError as error:
        raise BadFilter(400, f"A state is one of {_listed(State)}.") from error


def _day(given: Mapping[str, str], name: str) -> date | None:
    text = given.get(name, "")
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise BadFilter(
            400, f"`{name}` must be a day, written as year-month-day: 2026-03-31, for example."
        ) from error
    if not 2000 <= day.year <= 2999:
        raise BadFilter(400, f"`{name}` must be a day between the years 2000 and 2999.")
    return day


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
