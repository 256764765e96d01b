"""The agent's small loops (design.md section 4): poll and heartbeat; work is in `claiming`, deliver in
`delivering`.

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
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.complaints import Complaints
from jobrunner.agent.contact import Contact, Pause
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.free_places import are_derived, free_places
from jobrunner.agent.journal import Journal
from jobrunner.sync.client import AgentClient, BrokenReply, Rejected, Unanswered
from jobrunner.sync.messages import (
    PROTOCOL,
    Cancel,
    Event,
    Hello,
    Offer,
    Poll,
    Renew,
)
from jobrunner.sync.vocabulary import ErrorCode, Reason

log = structlog.get_logger()

_RENEW_CHECK_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.05
_LOOKS_AT_DERIVED: Final = 20
_AGAIN_S: Final = 5.0

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
    complaints: Complaints = field(init=False)

    def __post_init__(self) -> None:
        self.complaints = Complaints(self.journal)

    def told(self, *, urgent: bool) -> None:
        """An event was put into the outbox. The end of a job is urgent: its answer brings the next one."""
        if urgent:
            self.outbox_hurry.set()
        self.outbox_wake.set()

    def take_cancels(self, cancels: Iterable[Cancel]) -> None:
        """The controller wants attempts to stop; each reply repeats the wish, so hearing it twice is fine."""
        for cancel in cancels:
            attempt = self.journal.get(cancel.job_id, cancel.attempt)
            if attempt is None and not self.journal.attempts_of(cancel.job_id):
                self.complaints.stray_cancel(cancel)
            if attempt is None or attempt.cancel is not None or attempt.step not in _STEPS_WITH_LEASE:
                continue
            self.journal.wish_cancel(cancel.job_id, cancel.attempt, Reason.BY_REQUESTER)
            log.info("cancel", job=cancel.job_id, attempt=cancel.attempt)
            self.stop_attempt(cancel.job_id, cancel.attempt)

    def supersede(self, job: str, number: int) -> None:
        """The controller said that a newer attempt of the job exists: this one ends and tells nothing."""
        log.warning("superseded", job=job, attempt=number)
        attempt = self.journal.get(job, number)
        if attempt is not None and attempt.outcome is not None and not attempt.superseded:
            self.journal.note(
                Reason.SITE_POLICY.value,
                "malformed",
                "The controller calls this attempt stale, though it has ended here.",
                job_id=job,
                attempt=number,
            )
        self.journal.supersede(job, number)
        self.stop_attempt(job, number)

    def take_pause(self, paused: bool) -> None:
        """The controller wants the site to start nothing new, or to go on."""
        if paused != self.desk.paused:
            log.info("paused" if paused else "unpaused", by="controller")
        self.desk.pause(paused)


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
            shared.complaints.broken_reply("hello", broken)
        shared.finished.wait(pause.seconds())
    return False


def poll_loop(shared: Shared) -> None:
    """Ask for offers and cancels; the controller holds the answer until there is something to say."""
    client = shared.new_client()
    pause = Pause()
    told: Hello | None = None
    while not shared.finished.is_set():
        if told is not shared.hello:
            # Also later on: a runtime that fails is not offered any more, and one that holds again is.
            told = shared.hello
            if not greet(shared, client):
                return
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
            if problem.code is ErrorCode.UNKNOWN_PROTOCOL:
                told = None
            continue
        except BrokenReply as broken:
            shared.complaints.broken_reply("poll", broken)
            shared.finished.wait(pause.seconds())
            continue
        shared.contact.heard()
        shared.take_cancels(reply.cancels)
        shared.take_pause(reply.pause)
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
            shared.supersede(attempt.job_id, attempt.number)
        else:
            log.error("controller_rejected", call="renew", problem=str(problem))
        return True
    except BrokenReply as broken:
        shared.complaints.broken_reply("renew", broken, attempt)
        return False
    shared.contact.heard()
    shared.take_cancels(reply.cancels)
    return True
