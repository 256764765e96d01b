"""What agents, the stream and the lists ask of the database, with many jobs that have ended: by which path.

A statement may look rows up by an index, and may walk through the index that holds active jobs alone. It may
not walk through a table that grows for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from jobrunner.controller.accounts import tokens
from jobrunner.controller.api.agent_calls import Call, begin_poll, claim, events, look, renew
from jobrunner.controller.feed import happenings
from jobrunner.controller.jobs import queue
from jobrunner.controller.jobs.describing import describe_jobs
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.models import Job, JobEvent, JobRequest
from jobrunner.controller.jobs.own_requests import own_requests
from jobrunner.controller.jobs.reusing import would_serve
from jobrunner.controller.jobs.tally import tallies
from jobrunner.controller.jobs.transitions import Wait
from jobrunner.sync import identity, signing
from jobrunner.sync.messages import Claim, Events, Poll, Renew, Slots
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage
from tests.fixtures.controller_many import fill
from tests.fixtures.controller_rows import BEGIN, Rows

pytestmark = [pytest.mark.unit, pytest.mark.slow, pytest.mark.django_db]

GROWING = ("jobs_job", "jobs_jobevent", "jobs_jobrequest", "jobs_receipt", "jobs_job_needs")
# Active jobs are few. On PostgreSQL a plan also says how many rows it went through.
FINISHED, ACTIVE = 8000, 400
Statement = tuple[str, Any]


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Rows]:
    with django_db_blocker.unblock(), transaction.atomic():
        made = Rows("plans")
        fill(made, finished=FINISHED, active=ACTIVE)
        try:
            yield made
        finally:
            transaction.set_rollback(True)


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    found: list[Statement] = []

    def record(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            found.append((sql, params[0] if many else params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        yield found


def walks(statement: Statement) -> list[str]:
    """The steps of the statement's plan that walk through a table that grows."""
    sql, params = statement
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            steps = [str(row[-1]) for row in cursor.fetchall()]
        if " WHERE " not in sql and " LIMIT " in sql and not any("TEMP B-TREE" in step for step in steps):
            # The newest few of all, in the order in which they lie there.
            return []
        return [step for step in steps if _is_walk(step)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        (plan,) = cursor.fetchone()
        transaction.set_rollback(True)
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return [json.dumps(node) for node in _nodes(plan[0]["Plan"]) if _is_many(node)]


def _is_walk(step: str) -> bool:
    kind, _, rest = step.partition(" ")
    if rest.split(" ")[0] not in (*GROWING, "U0", "U1"):
        return False
    # Without equal columns `SEARCH` means the whole of an index, or a part of it that grows too.
    return kind == "SCAN" or "(" not in rest


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {key: value for key, value in node.items() if key != "Plans"}
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _is_many(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") not in GROWING:
        return False
    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return bool(node["Actual Loops"] and read > 2 * ACTIVE)


def terms() -> Terms:
    return Terms(lease_s=120, retry_s=15, started_at=BEGIN - timedelta(days=1))


def poll(rows: Rows) -> None:
    body = Poll(accepting=True, slots=Slots(db=4, plain=16)).to_bytes()
    agent, message = begin_poll(Call(rows.credential, None, body))
    reply, _ = look(agent.pk, message, terms())
    assert len(reply.offers) == 16


def one_job(rows: Rows) -> None:
    ready = queue.waiting(rows.backend, Wait.WAITING_FOR_CAPACITY)
    job = ready.values_list("job_id", flat=True)[0]
    lease = claim(Call(rows.credential, None, Claim(job_id=job, attempt=1).to_bytes()), terms()).lease
    renew(Call(rows.credential, lease.token, Renew(job_id=job, attempt=1).to_bytes()), terms())
    for reason, end in ((Reason.EXECUTING, None), (Reason.COMPLETED, ExitClass.SUCCEEDED)):
        event = signing.sign_event(
            rows.key,
            event_id=identity.new_id(),
            job_id=job,
            attempt=1,
            stage=Stage.ENDED if end else Stage(reason.value),
            exit_class=end,
            reason=reason,
            started=1,
            finished=2 if end else None,
        )
        events(Call(rows.credential, lease.token, Events(events=(event,)).to_bytes()), terms())


def newest_events(rows: Rows) -> None:
    last = JobEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]
    assert len(happenings.following(last - 50, 50)) == 50
    assert len(happenings.newest(0, 50)) == 50


def lists(rows: Rows) -> None:
    newest = JobRequest.objects.order_by("-pk")
    for narrowed in (
        newest,
        newest.filter(state="running"),
        newest.filter(state="failed"),
        newest.filter(backend=rows.backend),
        newest.filter(backend=rows.backend, state="pending"),
        newest.filter(project=rows.project, state="refused"),
        newest.filter(project=rows.project, backend=rows.backend),
    ):
        list(narrowed[:21])


def front_page(rows: Rows) -> None:
    text = Client(HTTP_HOST="localhost").get("/").content.decode()
    # Ten that wait and ten that have ended.
    assert text.count(f"by {rows.person.username}") == 20


def own_requests_of_one_person(rows: Rows) -> None:
    secret = tokens.create(rows.person, [rows.project], days=1, now=BEGIN)
    token = tokens.find(secret, now=BEGIN)
    assert token is not None
    found = own_requests(token)
    assert len(found) == 20
    assert len(tallies([one.pk for one in found])) == 20


def what_did_not_run(rows: Rows) -> None:
    run = Job.objects.order_by("pk")[0]
    request, later = run.request, {"reason": "nonzero_exit", "finished_at": BEGIN}
    fields = {"request": request, "workspace": run.workspace, "backend": run.backend, "is_database": False}
    fields |= {"created_at": BEGIN, "changed_at": BEGIN}
    Job.objects.create(job_id="f", action=run.action, state="failed", **fields, **later)
    reused = Job.objects.create(
        job_id="r",
        action=run.action,
        state="succeeded",
        reason="reused",
        finished_at=BEGIN,
        reused=run,
        **fields,
    )
    root = Job.objects.create(job_id="n", action="root", state="failed", **fields, **later)
    ended = {"state": "failed", "reason": "dependency_failed", "finished_at": BEGIN}
    blocked = Job.objects.create(job_id="b", action="blocked", **ended, **fields)
    blocked.needs.add(root)
    facts = describe_jobs(Job.objects.filter(pk__in=[reused.pk, blocked.pk]), now=BEGIN)
    assert "A later run of it failed" in facts[reused.pk].why
    assert "`root`" in facts[blocked.pk].why
    assert would_serve({run.action: run.pk}, "b" * 40)[run.action].failed_since is not None
    Job.objects.filter(pk__in=[reused.pk, blocked.pk, root.pk]).update(reused=None)
    blocked.needs.clear()
    Job.objects.filter(job_id__in=("f", "r", "n", "b")).delete()


@pytest.mark.parametrize(
    "call",
    [poll, one_job, newest_events, lists, front_page, own_requests_of_one_person, what_did_not_run],
)
@pytest.mark.parametrize("analysed", [True, False])
def test_nothing_walks_through_what_has_ended(
    rows: Rows, call: Callable[[Rows], None], analysed: bool
) -> None:
    if connection.vendor == "sqlite" and not analysed:
        # Nobody may ever have run ANALYZE on an operator's file.
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_stat1")
            cursor.execute("ANALYZE sqlite_master")
    with recorded() as statements:
        call(rows)
    assert statements
    for statement in statements:
        assert walks(statement) == [], statement[0]


def test_an_index_gives_what_ended_last_and_lately(rows: Rows) -> None:
    """Requests are too few here for PostgreSQL to take an index where it has the choice."""
    ended = JobRequest.objects.filter(finished_at__isnull=False).order_by("-finished_at")[:10]
    lately = JobRequest.objects.filter(finished_at__gte=BEGIN)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
        for found in (ended, lately):
            plan = found.values_list("pk").explain()
            assert "requests_by_end" in plan
            assert not re.search("Sort|TEMP B-TREE", plan)


def test_the_probe_sees_a_walk(rows: Rows) -> None:
    assert walks(("SELECT count(*) FROM jobs_job WHERE reason = %s", ("completed",)))
    assert not walks(("SELECT id FROM jobs_job WHERE job_id = %s", ("x",)))
