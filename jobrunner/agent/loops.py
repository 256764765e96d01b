"""The agent's four small loops: poll, heartbeat, work, deliver (design.md section 4).

Each loop has its own connection to the controller and retries by itself, with growing pauses. A lost
answer is never an answer: whatever was not acknowledged is sent again.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from jobrunner.agent import contact
from jobrunner.agent.contact import Contact, Pause
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.free_places import are_derived, free_places
from jobrunner.agent.journal import Accepted, Attempt, Conflict, Journal, NotIntended, Step
from jobrunner.sync import outbox
from jobrunner.sync.client import AgentClient, BrokenReply, Rejected, Unanswered
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.messages import (
    MAX_ATTEMPT,
    PROTOCOL,
    Cancel,
    Claim,
    ClaimReply,
    Event,
    Events,
    Hello,
    Offer,
    Poll,
    Renew,
)
from jobrunner.sync.vocabulary import ErrorCode, Reason

log = structlog.get_logger()

_RENEW_CHECK_S: Final = 2.0
_COMPANY_S: Final = 0.5
_CLAIM_TRIES: Final = 5
_LOOKS_AT_OUTBOX: Final = 40
_LOOK_AGAIN_S: Final = 0.05
_LOOKS_AT_DERIVED: Final = 20
_AGAIN_S: Final = 5.0
# Refused for good: the same bytes will not be taken later, and other jobs' events wait behind them. A wrong
# credential (401) or protocol (426) is the operator's to mend, and then they are taken.
_NEVER_TAKEN: Final = frozenset({400, 403, 404, 409})

_STEPS_WITH_LEASE: Final = frozenset(set(Step) - {Step.ACCEPT, Step.CLEAN_UP, Step.DONE})


@dataclass
class Shared:
    """What the loops share. After `stopping` nothing new is claimed; `finished` ends all loops."""

    journal: Journal
    desk: Desk
    hello: Hello
    new_client: Callable[[], AgentClient]
    foresee: Callable[[Offer], None]
    start: Callable[[Attempt], None]
    stop_attempt: Callable[[str, int], None]
    first_event: Callable[[str, int], Event]
    stopping: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    outbox_wake: threading.Event = field(default_factory=threading.Event)
    outbox_hurry: threading.Event = field(default_factory=threading.Event)
    contact: Contact = field(default_factory=Contact)

    def told(self, *, urgent: bool) -> None:
        """An event was put into the outbox. The end of a job is urgent: its answer brings the next one."""
        if urgent:
            self.outbox_hurry.set()
        self.outbox_wake.set()

    def take_cancels(self, cancels: Iterable[Cancel]) -> None:
        """The controller wants attempts to stop; each reply repeats the wish, so hearing it twice is fine."""
        for cancel in cancels:
            attempt = self.journal.get(cancel.job_id, cancel.attempt)
            if attempt is None or attempt.cancel is not None or attempt.step not in _STEPS_WITH_LEASE:
                continue
            self.journal.wish_cancel(cancel.job_id, cancel.attempt, Reason.BY_REQUESTER)
            log.info("cancel", job=cancel.job_id, attempt=cancel.attempt)
            self.stop_attempt(cancel.job_id, cancel.attempt)

    def take_broken_reply(self, call: str, broken: BrokenReply) -> None:
        """A reply that is no message of the protocol: nothing in it is acted on; the operator sees it."""
        detail = "unknown_field" if broken.unknown_field else "malformed"
        log.error("broken_reply", call=call, detail=detail, problem=str(broken))
        self.journal.note(
            Reason.SITE_POLICY.value, detail, f"The controller's answer to {call} was refused: {broken}."
        )


def greet(shared: Shared, client: AgentClient) -> bool:
    """Say hello until it is answered; False when the agent stops first."""
    pause = Pause()
    while not shared.finished.is_set():
        try:
            if client.hello(shared.hello).protocol == PROTOCOL:
                shared.contact.heard()
                return True
            log.error("controller_rejected", call="hello", problem="it speaks another protocol")
        except Unanswered as problem:
            shared.contact.missed("hello", problem)
        except Rejected as problem:
            log.error("controller_rejected", call="hello", problem=str(problem))
        except BrokenReply as broken:
            shared.take_broken_reply("hello", broken)
        shared.finished.wait(pause.seconds())
    return False


def poll_loop(shared: Shared) -> None:
    """Ask for offers and cancels; the controller holds the answer until there is something to say."""
    client = shared.new_client()
    pause = Pause()
    if not greet(shared, client):
        return
    while not shared.finished.is_set():
        _wait_until_derived(shared)
        began = time.monotonic()
        try:
            reply = client.poll(
                Poll(accepting=shared.desk.accepting, slots=free_places(shared.journal, shared.desk))
            )
        except Unanswered as problem:
            shared.contact.missed("poll", problem)
            shared.finished.wait(pause.seconds())
            continue
        except Rejected as problem:
            log.error("controller_rejected", call="poll", problem=str(problem))
            shared.finished.wait(pause.seconds())
            if problem.code is ErrorCode.UNKNOWN_PROTOCOL and not greet(shared, client):
                return
            continue
        except BrokenReply as broken:
            shared.take_broken_reply("poll", broken)
            shared.finished.wait(pause.seconds())
            continue
        shared.contact.heard()
        shared.take_cancels(reply.cancels)
        shared.desk.pause(reply.pause)
        has_room = shared.desk.accepting and shared.desk.free() > 0
        shared.desk.put(reply.offers)
        shared.desk.wait_settled(5.0)
        if reply.retry_after is not None:
            shared.finished.wait(reply.retry_after)
        elif time.monotonic() - began < contact.SHORTEST_PAUSE_S and not (reply.offers and has_room):
            # An answer at once and with nothing in it that could be done: do not run in circles.
            shared.finished.wait(pause.seconds())
            continue
        pause.reset()


def _wait_until_derived(shared: Shared) -> None:
    """Give what was just claimed a moment to turn out to be a database action or none.

    A poll in that moment would say that no database place is free, and its answer can be held for long.
    """
    if shared.desk.places().database == 0:
        return
    for _look in range(_LOOKS_AT_DERIVED):
        if are_derived(shared.journal) or shared.finished.wait(_LOOK_AGAIN_S):
            return


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
        journal.note(Reason.SITE_POLICY.value, "malformed", "A claim was answered without a usable lease.")
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
            shared.take_broken_reply("claim", broken)
            return None
    return None


def _all_delivered(shared: Shared, job: str) -> bool:
    """Whether the controller has heard all of a job's earlier attempts; waits a moment for the last words."""
    for _look in range(_LOOKS_AT_OUTBOX):
        with shared.journal.transaction() as connection:
            if outbox.waiting_for(connection, job) == 0:
                return True
        shared.told(urgent=True)
        if shared.stopping.wait(_LOOK_AGAIN_S):
            return False
    return False


def keep_running(loop: Callable[[Shared], None], shared: Shared) -> None:
    """Run a loop again when the journal or anything else failed under it, until the agent stops."""
    while not shared.finished.is_set():
        try:
            loop(shared)
            return
        except Exception:
            log.exception("loop_failed", loop=loop.__name__)
            shared.finished.wait(_AGAIN_S)


def heartbeat_loop(shared: Shared) -> None:
    """Renew the leases of running attempts at a third of their time, whatever the jobs do."""
    client = shared.new_client()
    due: dict[tuple[str, int], float] = {}
    while not shared.finished.is_set():
        for attempt in shared.journal.open_attempts():
            if attempt.step not in _STEPS_WITH_LEASE or attempt.superseded or attempt.token is None:
                continue
            interval = (attempt.lease_s or 60) / 3
            if time.monotonic() < due.setdefault(attempt.key, time.monotonic() + interval):
                continue
            due[attempt.key] = time.monotonic() + (interval if _renew(shared, client, attempt) else 5.0)
        shared.finished.wait(_RENEW_CHECK_S)


def _renew(shared: Shared, client: AgentClient, attempt: Attempt) -> bool:
    try:
        reply = client.renew(Renew(job_id=attempt.job_id, attempt=attempt.number), attempt.token or "")
    except Unanswered as problem:
        shared.contact.missed("renew", problem)
        return False
    except Rejected as problem:
        if problem.code is ErrorCode.STALE_ATTEMPT:
            _superseded(shared, attempt.job_id, attempt.number)
        else:
            log.error("controller_rejected", call="renew", problem=str(problem))
        return True
    except BrokenReply as broken:
        shared.take_broken_reply("renew", broken)
        return False
    shared.contact.heard()
    shared.take_cancels(reply.cancels)
    return True


def _superseded(shared: Shared, job: str, number: int) -> None:
    log.warning("superseded", job=job, attempt=number)
    shared.journal.supersede(job, number)
    shared.stop_attempt(job, number)


def deliver_loop(shared: Shared) -> None:
    """Send what the outbox holds until it is acknowledged: ends at once, the rest after a moment.

    What is not urgent waits for company, since a short job then needs fewer calls.
    """
    client = shared.new_client()
    pause = Pause()
    patient_until = 0.0
    while not shared.finished.is_set():
        shared.outbox_hurry.wait(_COMPANY_S)
        shared.outbox_hurry.clear()
        shared.outbox_wake.clear()
        told_an_end = False
        while (batch := _next_batch(shared)) is not None:
            if told_an_end and not batch.tells_an_end and time.monotonic() < patient_until:
                break
            if not _send(shared, client, batch):
                shared.finished.wait(pause.seconds())
                break
            pause.reset()
            told_an_end |= batch.tells_an_end
        else:
            patient_until = time.monotonic() + _COMPANY_S
            # What finishes the loops says so before it wakes this one.
            if not shared.finished.is_set():
                shared.outbox_wake.wait(contact.LONGEST_PAUSE_S)


def _next_batch(shared: Shared) -> outbox.Batch | None:
    with shared.journal.transaction() as connection:
        return outbox.next_batch(connection)


def _send(shared: Shared, client: AgentClient, batch: outbox.Batch) -> bool:
    journal = shared.journal
    attempt = journal.get(batch.job_id, batch.attempt)
    if attempt is None or attempt.token is None:
        # Without its token nobody would take it; it stays on the site for the operator.
        journal.set_aside(batch.job_id, batch.attempt)
        return True
    try:
        reply = client.events(Events(events=batch.events), attempt.token)
    except Unanswered as problem:
        shared.contact.missed("events", problem)
        return False
    except Rejected as problem:
        if problem.code is ErrorCode.STALE_ATTEMPT:
            _superseded(shared, batch.job_id, batch.attempt)
            return True
        log.error("controller_rejected", call="events", problem=str(problem))
        if problem.status in _NEVER_TAKEN:
            journal.note(
                Reason.INTERNAL_ERROR.value,
                "",
                "The controller will not take events of this attempt; they are set aside.",
                job_id=batch.job_id,
                attempt=batch.attempt,
            )
            journal.set_aside(batch.job_id, batch.attempt)
            return True
        return False
    except BrokenReply as broken:
        shared.take_broken_reply("events", broken)
        return False
    shared.contact.heard()
    sent = {event.event_id for event in batch.events}
    acknowledged = tuple(event_id for event_id in reply.acks if event_id in sent)
    with journal.transaction() as connection:
        outbox.acknowledge(connection, acknowledged)
    shared.take_cancels(reply.cancels)
    shared.desk.pause(reply.pause)
    shared.desk.add(reply.offers)
    return len(acknowledged) == len(sent)
