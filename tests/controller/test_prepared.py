"""A query that is put together once finds what Django's own finds, with any values, on either database."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import Count, Min
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from jobrunner.controller.jobs.models import Job
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.projects.models import Backend

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def backends() -> list[Backend]:
    return [
        Backend.objects.create(
            slug=f"site-{number}",
            created_at=timezone.now(),
            credential_digest=f"digest {number}",
            last_seen_at=timezone.now() if number % 2 else None,
            paused=number == 3,
            free_plain=number,
        )
        for number in range(20)
    ]


def values_of(one: Backend) -> dict[str, Any]:
    return {field.attname: getattr(one, field.attname) for field in Backend._meta.concrete_fields}


def test_objects_are_those_that_django_makes(backends: list[Backend]) -> None:
    by_digest = Prepared(lambda digest: Backend.objects.filter(credential_digest=digest))
    for one in backends:
        found = by_digest.first(one.credential_digest)
        assert found is not None
        assert values_of(found) == values_of(Backend.objects.get(pk=one.pk))
        assert not found._state.adding
    assert by_digest.first("nobody's") is None
    assert by_digest.all("' OR 1 = 1 --") == []


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 20])
def test_rows_for_lists_of_any_length(backends: list[Backend], count: int) -> None:
    def query(keys: Any, before: Any) -> Any:
        named = Backend.objects.filter(pk__in=keys, last_seen_at__lt=before).order_by("pk")
        return named.values_list("pk", "paused", "last_seen_at")

    prepared = Prepared(query)
    keys = tuple(one.pk for one in backends[:count])
    for before in (timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)):
        assert prepared.rows(keys, before) == list(query(keys, before))


def test_groups_and_looks_below_a_relation(backends: list[Backend]) -> None:
    def query(backend: Any) -> Any:
        waiting = Job.objects.filter(backend=backend, needs__pk__in=[backend], finished_at=None)
        return waiting.values_list("state", "is_database").annotate(first=Min("pk"), count=Count("pk"))

    assert Prepared(query).rows(backends[0].pk) == list(query(backends[0].pk))


def test_it_is_put_together_once_for_each_length(backends: list[Backend]) -> None:
    made: list[int] = []

    def query(keys: Any) -> Any:
        made.append(len(keys))
        return Backend.objects.filter(pk__in=keys).values_list("pk")

    prepared = Prepared(query)
    for _again in range(3):
        for count in (1, 2):
            assert len(prepared.rows(tuple(one.pk for one in backends[:count]))) == count
    assert made == [1, 2]


def test_rows_are_locked_in_a_transaction_only(monkeypatch: pytest.MonkeyPatch) -> None:
    locking = Prepared(lambda key: Backend.objects.select_for_update(no_key=True).filter(pk=key))
    assert locking.all(0) == []
    monkeypatch.setattr(connections["default"], "get_autocommit", lambda: True)
    with pytest.raises(TransactionManagementError):
        locking.all(0)
