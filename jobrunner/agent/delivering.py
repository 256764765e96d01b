"""The deliver loop: what the outbox holds is sent until the controller has acknowledged it."""

import time
from typing import Final

import structlog

from jobrunner.agent import contact
from jobrunner.agent.contact import Pause
from jobrunner.agent.loops import Shared
from jobrunner.sync import outbox
from jobrunner.sync.client import AgentClient, BrokenReply, Rejected, Unanswered
from jobrunner.sync.messages import Events
from jobrunner.sync.vocabulary import ErrorCode, Reason

log = structlog.get_logger()

_COMPANY_S: Final = 0.5
# Refused for good: the same bytes will not be taken later, and other jobs' events wait behind them. A wrong
# credential (401) or protocol (426) is the operator's to mend, and then they are taken.
_NEVER_TAKEN: Final = frozenset({400, 403, 404, 409})


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
            shared.supersede(batch.job_id, batch.attempt)
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
        shared.complaints.broken_reply("events", broken, attempt)
        return False
    shared.contact.heard()
    shared.take_pause(reply.pause)
    # The next job begins while this is written down.
    shared.desk.add(reply.offers)
    sent = {event.event_id for event in batch.events}
    acknowledged = tuple(event_id for event_id in reply.acks if event_id in sent)
    with journal.transaction() as connection:
        outbox.acknowledge(connection, acknowledged)
    shared.take_cancels(reply.cancels)
    return len(acknowledged) == len(sent)
