"""Which jobs are offered: those of the backend that fit, fairly between workspaces."""

import pytest
from django.utils import timezone

from jobrunner.controller.api.agent_app import hold_for
from jobrunner.controller.jobs.offers import after_events, look
from jobrunner.controller.jobs.pausing import set_paused
from jobrunner.controller.projects import approvals
from jobrunner.controller.projects.models import Backend
from jobrunner.sync.messages import MAX_REPLY_BYTES, Poll, PollReply, Slots
from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_rows import Rows, job, where
from tests.fixtures.controller_server import envelope

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


def offered(rows: Rows, *, db: int = 0, plain: int = 0) -> list[tuple[str, str]]:
    Backend.objects.filter(pk=rows.backend.pk).update(free_db=db, free_plain=plain)
    offers = look(rows.agent(), accepting=True, now=rows.now, terms=rows.terms)[0]
    return [(offer.branch, offer.action) for offer in offers]


def many(prefix: str, count: int) -> dict[str, tuple[str, ...]]:
    return {f"{prefix}{number}": () for number in range(count)}


def test_a_busy_workspace_does_not_starve_another() -> None:
    rows = Rows()
    crowd = rows.ask("run_all", needs=many("a", 50), branch="busy")
    rows.tick(10)
    rows.ask("only", needs={"only": ()}, branch="quiet")
    assert offered(rows, plain=2) == [("busy", "a0"), ("quiet", "only")]
    # With one place the two take turns, though the other branch asked first and has 50 jobs.
    (first,) = offered(rows, plain=1)
    assert first == ("busy", "a0")
    rows.finish(job(crowd, "a0"))
    assert offered(rows, plain=1) == [("quiet", "only")]


def test_with_one_place_neither_kind_keeps_the_other_out() -> None:
    rows = Rows()
    database = many("a", 9)
    asked = {"reads": rows.ask("run_all", needs=database, databases=frozenset(database), branch="reads")}
    rows.tick(10)
    asked["counts"] = rows.ask("run_all", needs=many("b", 9), branch="counts")
    served = []
    for _turn in range(4):
        ((branch, action),) = offered(rows, db=1, plain=1)
        served.append(branch)
        rows.tick(1)
        rows.finish(job(asked[branch], action))
    assert served == ["reads", "counts", "reads", "counts"]


def test_where_both_kinds_are_ready_the_workspaces_share_evenly() -> None:
    rows = Rows()
    for branch in ("one", "two"):
        rows.ask("run_all", needs=many("a", 5), databases=frozenset({"a0", "a1"}), branch=branch)
    branches = [branch for branch, _action in offered(rows, db=2, plain=4)]
    assert sorted(branches) == ["one", "one", "two", "two"]


def test_at_most_sixteen_and_never_more_than_the_places_of_a_kind() -> None:
    rows = Rows()
    rows.ask("run_all", needs=many("a", 40), databases=frozenset({"a0", "a1", "a2"}))
    assert len(offered(rows, db=64, plain=64)) == 16
    assert offered(rows, db=2, plain=2) == [("main", "a0"), ("main", "a1")]
    assert offered(rows, db=1, plain=3) == [("main", "a0"), ("main", "a3"), ("main", "a4")]
    assert offered(rows, db=2, plain=0) == []
    assert offered(rows) == []


def test_a_database_action_takes_one_of_all_places_and_gives_it_back() -> None:
    rows = Rows()
    needs = {"extract": (), "describe": ("extract",), "refresh": ("describe",)}
    request = rows.ask("run_all", needs=needs, databases=frozenset({"extract", "refresh"}))
    # One place, which may be had by a database action: the end of each job offers the next, without a poll.
    assert offered(rows, db=1, plain=1) == [("main", "extract")]
    for done, following in (("extract", ["describe"]), ("describe", ["refresh"]), ("refresh", [])):
        lease = rows.claim(job(request, done))
        agent = rows.agent()
        assert agent.free_plain == 0
        rows.report(job(request, done), lease, Reason.COMPLETED, ExitClass.SUCCEEDED)
        found = after_events(rows.agent(), ended=True, now=rows.now, terms=rows.terms)[0]
        assert [offer.action for offer in found] == following
    agent = rows.agent()
    assert (agent.free_db, agent.free_plain) == (1, 1)


def test_another_backends_jobs_are_not_offered() -> None:
    north, south = Rows("north"), Rows("south")
    north.ask("other")
    assert offered(south, plain=4) == []
    assert len(offered(north, plain=4)) == 1


def test_a_paused_backend_gets_nothing_and_its_jobs_say_so() -> None:
    rows = Rows()
    request = rows.ask("count")
    set_paused(rows.agent(), True, now=rows.now)
    assert offered(rows, plain=4) == []
    assert where(request)["extract"] == "pending/paused"
    later = rows.ask("other")
    assert where(later) == {"other": "pending/paused"}
    set_paused(rows.agent(), False, now=rows.now)
    assert where(request)["extract"] == "pending/waiting_for_agent"
    assert len(offered(rows, plain=4)) == 2


def test_sixteen_offers_with_large_approvals_stay_below_the_limit_of_a_reply() -> None:
    rows = Rows()
    repos = tuple(f"https://github.com/opensafely/{'x' * 200}{number}" for number in range(12))
    text = envelope(
        project=rows.project.slug,
        sites=("north",),
        repos=repos,
        actions=[f"{number:03}" + "\\" * 60 for number in range(48)],
    )
    assert 10_000 < len(text) <= 16 * 1024
    approvals.store(text, now=timezone.now())
    rows.ask("run_all", needs=many("a", 16))
    Backend.objects.filter(pk=rows.backend.pk).update(free_plain=16)
    offers = after_events(rows.agent(), ended=True, now=rows.now, terms=rows.terms)[0]
    reply = PollReply(offers=offers, cancels=(), pause=False, retry_after=None)
    assert offers
    assert len(reply.to_bytes()) <= MAX_REPLY_BYTES


def test_news_goes_out_at_once_and_no_news_is_held() -> None:
    rows = Rows()
    rows.ask("other")
    Backend.objects.filter(pk=rows.backend.pk).update(free_plain=1)
    offers = after_events(rows.agent(), ended=True, now=rows.now, terms=rows.terms)[0]
    poll = Poll(accepting=True, slots=Slots(db=0, plain=1))
    nothing = PollReply(offers=(), cancels=(), pause=False, retry_after=None)
    paused = PollReply(offers=(), cancels=(), pause=True, retry_after=None)
    news = PollReply(offers=offers, cancels=(), pause=False, retry_after=None)
    assert hold_for(poll, nothing, None) == float("inf")
    assert hold_for(poll, paused, None) == 0
    assert hold_for(poll, paused, (poll, paused)) == float("inf")
    assert hold_for(poll, nothing, (poll, paused)) == 0
    assert hold_for(poll, news, (poll, nothing)) == 0
    assert hold_for(poll, news, (poll, news)) == 5
    assert hold_for(Poll(accepting=True, slots=Slots(db=0, plain=2)), news, (poll, news)) == 0


def test_offers_come_in_turn_and_not_by_age() -> None:
    rows = Rows()
    rows.ask("run_all", needs=many("a", 9), branch="busy")
    rows.tick(10)
    rows.ask("run_all", needs=many("b", 9), branch="quiet")
    # An agent claims the first one first, and may have fewer places by then.
    assert [branch for branch, _action in offered(rows, plain=4)] == ["busy", "quiet", "busy", "quiet"]
