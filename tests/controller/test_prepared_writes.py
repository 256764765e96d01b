"""What a statement put together once writes is what Django writes, with any values, on either database."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.transitions import State
from jobrunner.controller.prepared_writes import PreparedInsert, PreparedUpdate
from jobrunner.controller.projects.models import Backend
from tests.fixtures.controller_rows import BEGIN, Rows

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def backends() -> list[Backend]:
    return [
        Backend.objects.create(
            slug=f"site-{number}", created_at=timezone.now(), credential_digest=f"digest {number}"
        )
        for number in range(20)
    ]


def stored(model: Any, *fields: str) -> list[tuple[Any, ...]]:
    return list(model.objects.order_by("pk").values_list(*fields))


BY_KEYS = PreparedUpdate(lambda keys: Backend.objects.filter(pk__in=keys))


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 20])
def test_rows_named_by_lists_of_any_length_change(backends: list[Backend], count: int) -> None:
    keys = tuple(one.pk for one in backends[:count])
    seen = timezone.now() - timedelta(days=1)
    assert BY_KEYS.run(keys, last_seen_at=seen, paused=True, free_db=3, agent_id="' OR 1 = 1 --") == count
    changed = [one.pk in keys for one in backends]
    assert stored(Backend, "last_seen_at", "paused", "free_db", "agent_id") == [
        (seen, True, 3, "' OR 1 = 1 --") if yes else (None, False, 0, "") for yes in changed
    ]
    assert BY_KEYS.run(keys, last_seen_at=None) == count
    assert not Backend.objects.exclude(last_seen_at=None).exists()


def test_other_fields_make_another_statement_and_what_always_changes_does(backends: list[Backend]) -> None:
    made: list[int] = []

    def named(slug: Any) -> Any:
        made.append(1)
        return Backend.objects.filter(slug=slug)

    counted = PreparedUpdate(named, changes=F("changes") + 1)
    for free in (4, 5):
        assert counted.run("site-1") == counted.run("site-2", free_db=free) == 1
    assert counted.run("nobody") == 0
    assert stored(Backend, "changes", "free_db")[:4] == [(0, 0), (2, 0), (2, 5), (0, 0)]
    assert len(made) == 2


def test_a_relation_is_set_by_its_key() -> None:
    rows = Rows()
    rows.ask("extract")
    cancelled = PreparedUpdate(lambda state: Job.objects.filter(state=state))
    assert cancelled.run("pending", cancelled_by_id=rows.person.pk) == 1
    assert Job.objects.get().cancelled_by == rows.person
    assert cancelled.run("pending", cancelled_by_id=None) == 1
    assert Job.objects.get().cancelled_by is None


@pytest.mark.parametrize("count", [0, 1, 2, 32, 33, 70])
def test_new_rows_are_those_that_django_makes(count: int) -> None:
    insert = PreparedInsert(Backend, "slug", "credential_digest", "created_at", "last_seen_at", "free_db")
    rows = [
        (f"site-{number}", f"digest {number}", BEGIN, BEGIN if number % 2 else None, number)
        for number in range(count)
    ]
    keys = insert.add(rows)
    names = ("slug", "credential_digest", "created_at", "last_seen_at", "free_db")
    everything = [field.attname for field in Backend._meta.concrete_fields if field.attname != "id"]
    assert stored(Backend, "pk", "slug") == list(zip(keys, (row[0] for row in rows), strict=True))
    ours = stored(Backend, *everything)
    Backend.objects.all().delete()
    Backend.objects.bulk_create(Backend(**dict(zip(names, row, strict=True))) for row in rows)
    assert ours == stored(Backend, *everything)


def test_each_field_converts_its_values() -> None:
    rows = Rows()
    request = rows.ask("extract")
    assert request is not None
    fields = {field.attname: getattr(request, field.attname) for field in request._meta.concrete_fields}
    del fields["id"]
    fields |= {
        "request_id": "another",
        "client_key": "another",
        "actions": ["a", '"b"'],
        "state": State.FAILED,
    }
    (key,) = PreparedInsert(JobRequest, *fields).add([tuple(fields.values())])
    found = JobRequest.objects.get(pk=key)
    assert {name: getattr(found, name) for name in fields} == fields


def test_an_error_ends_the_transaction(backends: list[Backend]) -> None:
    insert = PreparedInsert(Backend, "slug", "credential_digest", "created_at")
    by_slug = PreparedUpdate(lambda slug: Backend.objects.filter(slug=slug))
    for fail in (
        lambda: insert.add([("new", "new", BEGIN), ("site-1", "other", BEGIN)]),
        lambda: by_slug.run("site-2", slug="site-1"),
    ):
        with transaction.atomic():
            with pytest.raises(IntegrityError):
                fail()
            with pytest.raises(TransactionManagementError):
                Backend.objects.count()
    assert len(stored(Backend, "pk")) == len(backends)
