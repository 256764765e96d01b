"""The agent's calls against a served controller, through the agent's own client and real keys."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.sync.client import Rejected
from jobrunner.sync.messages import Hello
from jobrunner.sync.vocabulary import ErrorCode, ExitClass, Reason, Runtime
from tests.fixtures.controller_sites import Site, job_of

pytestmark = [pytest.mark.http, pytest.mark.slow]


def test_a_chain_runs_with_one_poll_because_each_end_brings_the_next_offer(site: Site) -> None:
    agent = site.agent()
    agent.client.hello(
        Hello(agent_id="a", protocol=1, version="1.0", runtimes=(Runtime.RUNC,), policy_digest="0" * 64)
    )
    request = site.ask("chart")
    assert site.look(request["request_id"]) == {
        "extract": ("pending", "waiting_for_agent"),
        "count": ("pending", "waiting_for_dependencies"),
        "chart": ("pending", "waiting_for_dependencies"),
    }
    (offer,) = agent.poll().offers
    assert (offer.action, offer.commit, offer.repo) == ("extract", site.commit, site.repo)
    assert offer.approval is not None
    for expected in ("count", "chart"):
        (offer,) = agent.run(job_of(offer)).offers
        assert offer.action == expected
    assert agent.run(job_of(offer)).offers == ()
    assert set(site.look(request["request_id"]).values()) == {("succeeded", "completed")}


def test_stages_are_shown_and_only_go_forward(site: Site) -> None:
    agent = site.agent()
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    lease = agent.claim(job)
    seen = [site.look(request["request_id"])["other"]]
    for reason in (Reason.PREPARING, Reason.EXECUTING, Reason.COLLECTING, Reason.EXECUTING):
        agent.send(lease, agent.event(job, lease.attempt, reason))
        seen.append(site.look(request["request_id"])["other"])
    assert [reason for _, reason in seen] == [
        "preparing",
        "preparing",
        "executing",
        "collecting",
        "collecting",
    ]


def test_a_poll_is_woken_at_once_by_a_new_request(site: Site) -> None:
    agent = site.agent()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.poll)
        time.sleep(0.5)
        assert not waiting.done()
        site.ask("other")
        asked = time.monotonic()
        assert len(waiting.result(5).offers) == 1
        assert time.monotonic() - asked < 0.5


@pytest.mark.slow
def test_a_poll_is_woken_by_a_change_that_another_process_made(site: Site) -> None:
    agent = site.agent()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(agent.poll)
        time.sleep(0.2)
        site.server.query(
            "UPDATE projects_backend SET paused = true, changes = changes + 1 WHERE slug = ?", site.backend
        )
        assert waiting.result(5).pause is True
        assert time.monotonic() - began < 1.7


@pytest.mark.slow
def test_pausing_is_told_and_resuming_too(site: Site) -> None:
    agent = site.agent()
    request = site.ask("other")
    site.server.command("pause", site.backend)
    assert agent.poll().pause is True
    assert site.look(request["request_id"])["other"] == ("pending", "paused")
    with pytest.raises(Rejected):
        agent.claim(request["jobs"][0]["job_id"])
    site.server.command("resume", site.backend)
    reply = agent.poll()
    assert (reply.pause, len(reply.offers)) == (False, 1)


@pytest.mark.slow
def test_a_poll_without_news_is_held_and_the_same_answer_does_not_spin(site: Site) -> None:
    agent = site.agent()
    began = time.monotonic()
    assert agent.poll().offers == ()
    assert time.monotonic() - began > 1.8
    site.ask("other")
    first = agent.poll()
    assert len(first.offers) == 1
    began = time.monotonic()
    assert agent.poll() == first
    assert time.monotonic() - began > 1.8


@pytest.mark.slow
def test_offers_fit_the_free_places_and_the_rest_waits_for_capacity(site: Site) -> None:
    agent = site.agent()
    request = site.ask("extract", "other")
    assert len(agent.poll(plain=1).offers) == 1
    assert sorted(reason for _, reason in site.look(request["request_id"]).values()) == [
        "waiting_for_agent",
        "waiting_for_capacity",
    ]
    assert agent.poll(plain=0).offers == ()
    assert agent.poll(accepting=False).offers == ()
    assert len(agent.poll(plain=2).offers) == 2


def test_a_lost_answer_to_a_claim_is_asked_for_again(site: Site) -> None:
    agent = site.agent()
    job = site.ask("other")["jobs"][0]["job_id"]
    first, again = agent.claim(job), agent.claim(job)
    assert (first.attempt, again.attempt) == (1, 1)
    agent.send(again, agent.event(job, 1, Reason.EXECUTING))
    with pytest.raises(Rejected) as refused:
        agent.claim(job)
    assert (refused.value.status, refused.value.code) == (409, ErrorCode.TAKEN)


def test_a_lapsed_lease_only_makes_the_job_claimable(site: Site) -> None:
    agent = site.agent()
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    old = agent.claim(job)
    agent.send(old, agent.event(job, 1, Reason.EXECUTING))
    site.let_lease_lapse(job)
    # Within one period after its start the controller lets no lease run out.
    with pytest.raises(Rejected) as refused:
        agent.claim(job, attempt=2)
    assert refused.value.code is ErrorCode.TAKEN
    assert site.look(request["request_id"])["other"] == ("running", "executing")
    assert agent.renew(job, old).attempt == 1
    agent.end(job, old)
    assert site.look(request["request_id"])["other"] == ("succeeded", "completed")


def test_errors_of_ours_are_tried_three_times(site: Site) -> None:
    agent = site.agent()
    request = site.ask("count")
    job = next(job["job_id"] for job in request["jobs"] if job["action"] == "extract")
    seen = []
    for attempt in (1, 5, 6):
        lease = agent.claim(job, attempt)
        assert lease.attempt == attempt
        agent.end(job, lease, Reason.INTERNAL_ERROR, ExitClass.FAILED)
        seen.append(site.look(request["request_id"])["extract"])
    assert seen == [("pending", "retrying"), ("pending", "retrying"), ("failed", "internal_error")]
    assert site.look(request["request_id"])["count"] == ("failed", "dependency_failed")


def test_a_running_job_is_cancelled_when_its_agent_says_so(site: Site) -> None:
    agent = site.agent()
    request = site.ask("count")
    job = next(job["job_id"] for job in request["jobs"] if job["action"] == "extract")
    lease = agent.claim(job)
    answer = site.call("POST", f"requests/{request['request_id']}/cancel").json()
    assert answer["message"] == "2 jobs are cancelled or will stop."
    assert site.look(request["request_id"]) == {
        "extract": ("running", "preparing"),
        "count": ("cancelled", "by_requester"),
    }
    (wish,) = agent.poll().cancels
    assert (wish.job_id, wish.attempt) == (job, 1)
    reply = agent.send(lease, agent.event(job, 1, Reason.EXECUTING))
    assert reply.cancels == (wish,)
    agent.end(job, lease, Reason.BY_CONTROLLER, ExitClass.CANCELLED)
    assert site.look(request["request_id"])["extract"] == ("cancelled", "by_requester")


@pytest.mark.slow
def test_a_restart_keeps_leases_tokens_and_requests(site: Site) -> None:
    agent = site.agent()
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    lease = agent.claim(job)
    site.server.restart()
    agent.send(lease, agent.event(job, 1, Reason.EXECUTING))
    agent.end(job, lease)
    assert site.look(request["request_id"])["other"] == ("succeeded", "completed")


def test_renewing_extends_the_lease(site: Site) -> None:
    agent = site.agent()
    job = site.ask("other")["jobs"][0]["job_id"]
    lease = agent.claim(job)
    site.let_lease_lapse(job)
    assert agent.renew(job, lease).token is None
    ((ends,),) = site.server.query("SELECT lease_expires_at FROM jobs_job WHERE job_id = ?", job)
    assert str(ends) > time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
