"""Runs migrations of an empty database forward and back, as a process of its own; prints what it saw as JSON.

python -m tests.controller.migrating old_requests|all_the_way
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, transaction  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = "0002_append_only"
SETS = (
    ("succeeded", "running", "failed"),
    ("succeeded", "pending", "failed"),
    ("cancelled", "failed", "refused"),
    ("cancelled", "refused", "succeeded"),
    ("succeeded", "cancelled"),
    ("succeeded", "succeeded", "succeeded"),
)
RECORD_CHANGES = ("UPDATE jobs_jobevent SET attempt = 7", "DELETE FROM jobs_jobevent")


def go(app: str = "", name: str = "") -> None:
    """To one step of one app, or to the latest of all."""
    call_command("migrate", *([app, name] if app else []), interactive=False, verbosity=0)


def rows_of(model: str, name: str) -> Any:
    """The rows of a model as they are when the jobs are at this step."""
    apps = MigrationExecutor(connection).loader.project_state(("jobs", name)).apps
    return apps.get_model(model).objects


def store_old_rows() -> None:
    """Requests as they were before they had a state, one for each set of states of jobs."""
    texts = {"title": "", "purpose": "", "legal_basis": "", "created_at": BEGIN}
    person = rows_of("accounts.Person", BEFORE).create(username="ada")
    project = rows_of("projects.Project", BEFORE).create(slug="p", **texts)
    backend = rows_of("projects.Backend", BEFORE).create(slug="b", created_at=BEGIN)
    place = {"repo": "", "branch": "", "created_at": BEGIN}
    workspace = rows_of("projects.Workspace", BEFORE).create(project_id=project.pk, **place)
    where = {"workspace_id": workspace.pk, "backend_id": backend.pk, "created_at": BEGIN}
    for number, states in enumerate(SETS):
        request = rows_of("jobs.JobRequest", BEFORE).create(
            request_id=f"r{number}",
            client_key=f"{number}",
            person_id=person.pk,
            project_id=project.pk,
            actions=[],
            force=False,
            **where,
        )
        for index, state in enumerate(states):
            job = rows_of("jobs.Job", BEFORE).create(
                job_id=f"j{number}-{index}",
                request_id=request.pk,
                action=f"a{number}-{index}",
                is_database=False,
                state=state,
                changed_at=BEGIN,
                finished_at=None if state in ("pending", "running") else BEGIN + timedelta(hours=index),
                **where,
            )
            rows_of("jobs.JobEvent", BEFORE).create(job_id=job.pk, at=BEGIN, state=state, attempt=0)


def summed_up() -> list[tuple[str, int | None]]:
    """State and hour of the end of each request."""
    rows = rows_of("jobs.JobRequest", "0005_queue").order_by("pk")
    return [
        (row.state, None if row.finished_at is None else (row.finished_at - BEGIN) // timedelta(hours=1))
        for row in rows
    ]


def refused() -> list[bool]:
    """Of each statement that changes a record, whether the database refused it."""
    found = []
    for statement in RECORD_CHANGES:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        except DatabaseError as error:
            found.append("only ever added" in str(error))
        else:
            found.append(False)
    return found


def what_is_left() -> list[str]:
    """Tables of ours, and the functions or triggers of all tables."""
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT proname FROM pg_proc WHERE starts_with(proname, 'jobs_')")
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return [*(name for name in tables if name.startswith("jobs_")), *(name for (name,) in cursor)]


def old_requests() -> object:
    """From before requests had a state to the latest step, back, and forward again."""
    go("jobs", BEFORE)
    store_old_rows()
    go()
    first, kept = summed_up(), refused()
    go("jobs", BEFORE)
    kept_still, jobs = refused(), rows_of("jobs.Job", BEFORE).count()
    go()
    return {"first": first, "again": summed_up(), "refused": [*kept, *kept_still, *refused()], "jobs": jobs}


def all_the_way() -> object:
    """To the latest step, to nothing, and to the latest again."""
    go()
    go("jobs", "zero")
    left = what_is_left()
    go("jobs", BEFORE)
    store_old_rows()
    go()
    return {"left": left, "refused": refused()}


if __name__ == "__main__":
    print(json.dumps({"old_requests": old_requests, "all_the_way": all_the_way}[sys.argv[1]]()))
