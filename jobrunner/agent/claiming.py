"""The work loop: offers become attempts of this site, claimed first and then started.

A claim is intended in the journal before it is asked for, and only a usable lease makes it an attempt.
"""

from typing import Final

import structlog

from jobrunner.agent.attempt_rows import Accepted, Attempt, Step
from jobrunner.agent.contact import Pause
from jobrunner.agent.journal import Conflict, NotIntended
from jobrunner.agent.loops import Shared
from jobrunner.sync.client import AgentClient, BrokenReply, Rejected, Unanswered
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.messages import MAX_ATTEMPT, Claim, ClaimReply, Offer
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

_CLAIM_TRIES: Final = 5
_LOOKS_AT_OUTBOX: Final = 40
_LOOK_AGAIN_S: Final = 0.05


def work_loop(shared: Shared) -> None:
    """Claim offers for free slots and start their procedures."""
    client = shared.new_client()
    while (taken := shared.desk.next()) is not None:
        offer, slot = taken
        started = False
        try:
            started = _claim(shared, client, offer, slot)
        finally:
            if not started:
                shared.desk.give_back(slot)
            shared.desk.claimed()


def _claim(shared: Shared, client: AgentClient, offer: Offer, slot: int) -> bool:
    """Claim one offer and start it; False when it cannot be had now."""
    job = job_id_of(offer.request_id, offer.action)
    journal = shared.journal
    if not _all_delivered(shared, job):
        # It ran here already and the news is on its way: running it again would waste finished work.
        return False
    try:
        attempt = journal.intend_claim(job, offer)
    except Conflict:
        attempt = journal.intend_conflicting_claim(job, offer)
    if attempt.step is not Step.ACCEPT:
        return False
    if attempt.number > MAX_ATTEMPT:
        journal.note(Reason.SITE_POLICY.value, "malformed", "A job was offered again and again.", job_id=job)
        journal.forget_claim(job, attempt.number)
        return False
    shared.foresee(offer)
    return accept(shared, client, attempt, slot)


def accept(shared: Shared, client: AgentClient, attempt: Attempt, slot: int) -> bool:
    """Ask for the attempt that the journal intends; also after a restart, where asking again is harmless.

    True when it was given, and the slot with it; False when the slot is as free as before.
    """
    journal = shared.journal
    reply = _ask_for(shared, client, attempt)
    if reply is None:
        return False
    lease = reply.lease
    if lease.token is None or lease.attempt < attempt.number:
        shared.complaints.unusable_lease(attempt, lease)
        journal.forget_claim(attempt.job_id, attempt.number)
        return False
    event = shared.first_event(attempt.job_id, lease.attempt)
    try:
        journal.accepted(
            attempt.job_id,
            attempt.number,
            Accepted(lease.attempt, lease.token, lease.seconds, {"slot": slot}),
            event,
        )
    except NotIntended:
        return False
    try:
        _start(shared, attempt.job_id, lease.attempt)
    except Exception:
        # The attempt owns its slot from now on: nobody else may have it, whoever works on it and when.
        log.exception("not_started", job=attempt.job_id, attempt=lease.attempt)
    return True


def _start(shared: Shared, job: str, number: int) -> None:
    shared.told(urgent=False)
    claimed = shared.journal.get(job, number)
    if claimed is not None:
        log.info("claimed", job=job, attempt=number, action=claimed.offer.action)
        shared.start(claimed)


def _ask_for(shared: Shared, client: AgentClient, attempt: Attempt) -> ClaimReply | None:
    """The answer to a claim; None when there is none for now. The intent stays unless it was refused."""
    pause = Pause()
    for _try in range(_CLAIM_TRIES):
        try:
            return client.claim(Claim(job_id=attempt.job_id, attempt=attempt.number))
        except Unanswered as problem:
            # The claim may have been granted and only the answer lost: asking again is the way to know.
            shared.contact.missed("claim", problem)
            if shared.stopping.wait(pause.seconds()):
                return None
        except Rejected as problem:
            log.info("claim_rejected", job=attempt.job_id, problem=str(problem))
            shared.journal.forget_claim(attempt.job_id, attempt.number)
            return None
        except BrokenReply as broken:
            shared.complaints.broken_reply("claim", broken, attempt)
            return None
    return None


def _all_delivered(shared: Shared, job: str) -> bool:
    """Whether the controller has heard all of a job's earlier attempts; waits a moment for the last words."""
    for _look in range(_LOOKS_AT_OUTBOX):
        if shared.journal.is_told(job):
            return True
        shared.told(urgent=True)
        if shared.stopping.wait(_LOOK_AGAIN_S):
            return False
    return False
