"""Who may run a job: leases, attempt numbers and the tokens that prove them (design.md section 5).

A lease that ran out only makes the job claimable again. Until somebody claims it, renewals and events of
the current attempt count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from jobrunner.controller.jobs import attempt_tokens, turns, wake
from jobrunner.controller.jobs.lifecycle import move
from jobrunner.controller.jobs.models import Job
from jobrunner.controller.jobs.refusals import FORBIDDEN, NOT_FOUND, STALE, TAKEN, Refused
from jobrunner.controller.jobs.settling import settle
from jobrunner.controller.jobs.transitions import PREPARING, READY, Situation, State, Wait
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.prepared_writes import PreparedUpdate
from jobrunner.controller.projects.models import Backend, Workspace
from jobrunner.sync.messages import MAX_ATTEMPT, Claim, Lease, Renew
from jobrunner.sync.vocabulary import MAX_ATTEMPTS, Reason

_FOUND: Final = Prepared(lambda job: Job.objects.select_for_update(no_key=True).filter(job_id=job))
_SERVED: Final = PreparedUpdate(lambda key: Workspace.objects.filter(pk=key))
_MOST_PLACES: Final = 64
_GAVE_UP: Final = Situation(State.FAILED, Reason.INTERNAL_ERROR.value)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease lasts, how long a retry waits, and since when this process has been listening.

    A retry waits, since what a git host or an engine cannot do now it seldom can a moment later.

    After a restart no lease runs out for one full period: its agent could not renew while we were away.
    """

    lease_s: int
    retry_s: int
    started_at: datetime

    def lapse_limit(self, now: datetime) -> datetime | None:
        """Leases that end before this moment have run out; None when none can have."""
        if now < self.started_at + timedelta(seconds=self.lease_s):
            return None
        return now


def claimable(job: Job, *, now: datetime, terms: Terms) -> bool:
    """Whether an agent may claim the job: a ready one, or a running one whose lease ran out.

    `queue` asks the database the same for many at once.
    """
    if job.state == State.PENDING:
        if job.reason == Wait.RETRYING and job.changed_at > now - timedelta(seconds=terms.retry_s):
            return False
        return job.reason in READY
    limit = terms.lapse_limit(now)
    if job.state != State.RUNNING or limit is None or job.lease_expires_at is None:
        return False
    return job.lease_expires_at < limit and not job.cancel_reason


def find(agent: Backend, job_id: str) -> Job:
    """The agent's own job, locked where the database locks rows; raises Refused for any other."""
    job = _FOUND.first(job_id)
    if job is None:
        raise Refused(NOT_FOUND)
    if job.backend_id != agent.pk:
        raise Refused(FORBIDDEN)
    return job


def claim(agent: Backend, message: Claim, *, now: datetime, terms: Terms) -> Lease:
    """Lease the job to the agent under a new attempt number, or the same one again if its answer got lost.

    Raises Refused with `taken` when the job is not to be had.
    """
    with transaction.atomic():
        agent = turns.take(agent.pk)
        turns.note_seen(agent, now=now)
        leased = _lease(agent, find(agent, message.job_id), message, now, terms)
    if leased is None:
        raise Refused(TAKEN)
    token = attempt_tokens.issue(agent.slug, leased.job_id, leased.attempt, now=now)
    return Lease(attempt=leased.attempt, seconds=terms.lease_s, token=token)


def _lease(agent: Backend, job: Job, message: Claim, now: datetime, terms: Terms) -> Job | None:
    expires_at = now + timedelta(seconds=terms.lease_s)
    if _is_replay(job, message):
        Job.objects.filter(pk=job.pk).update(lease_expires_at=expires_at)
        return job
    if agent.paused or not claimable(job, now=now, terms=terms):
        return None
    attempt = max(job.attempt + 1, message.attempt)
    if job.tries >= MAX_ATTEMPTS or attempt > MAX_ATTEMPT:
        # Only a lapsed running job gets here: a failed last try has already ended it.
        move(job, _GAVE_UP, now=now)
        settle([job], now=now)
        wake.changed(agent.pk)
        return None
    if job.state == State.PENDING:
        _take_place(agent, job)
    move(job, PREPARING, now=now, attempt=attempt, tries=job.tries + 1, lease_expires_at=expires_at)
    _SERVED.run(job.workspace_id, last_served_at=now)
    return job


def _is_replay(job: Job, message: Claim) -> bool:
    return (
        job.state == State.RUNNING
        and job.attempt == message.attempt
        and not job.cancel_reason
        and not job.receipts.filter(attempt=job.attempt).exists()
    )


def _take_place(agent: Backend, job: Job) -> None:
    _count_places(agent, {place: max(0, getattr(agent, place) - 1) for place in _places_of(job)})


def give_place_back(agent: Backend, job: Job) -> None:
    """Count the place of a job that ended as free, until the agent tells its own count again.

    `agent` is as `turns.take` gave it; it is changed too.
    """
    _count_places(agent, {place: min(_MOST_PLACES, getattr(agent, place) + 1) for place in _places_of(job)})


def _count_places(agent: Backend, counts: dict[str, int]) -> None:
    turns.note(agent, **counts)
    for place, count in counts.items():
        setattr(agent, place, count)


def _places_of(job: Job) -> tuple[str, ...]:
    """A database action takes one of all places, of which only some may be had by database actions."""
    return ("free_plain", "free_db") if job.is_database else ("free_plain",)


def check_token(agent: Backend, job: Job, attempt: int, token: str | None, *, now: datetime) -> None:
    """Raise Refused unless the token was made for this agent, job and attempt, and has not ended."""
    if token is None or not attempt_tokens.fits(token, agent.slug, job.job_id, attempt, now=now):
        raise Refused(FORBIDDEN)


def renew(agent: Backend, message: Renew, token: str | None, *, now: datetime, terms: Terms) -> Lease:
    """Extend the lease of the current attempt; raises Refused with `stale_attempt` for any other."""
    with transaction.atomic():
        turns.note_seen(agent, now=now)
        job = find(agent, message.job_id)
        check_token(agent, job, message.attempt, token, now=now)
        if job.state != State.RUNNING or job.attempt != message.attempt:
            raise Refused(STALE)
        expires_at = now + timedelta(seconds=terms.lease_s)
        Job.objects.filter(pk=job.pk).update(lease_expires_at=Greatest(F("lease_expires_at"), expires_at))
    return Lease(attempt=job.attempt, seconds=terms.lease_s, token=None)
