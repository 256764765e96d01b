"""The five calls of an agent as plain functions of the database: bytes in, a typed reply or Refused out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from django.utils import timezone

from jobrunner.controller.accounts import secret_text
from jobrunner.controller.jobs import leases, offers, reports, turns
from jobrunner.controller.jobs.leases import Terms
from jobrunner.controller.jobs.refusals import MALFORMED, NO_CREDENTIAL, UNKNOWN_PROTOCOL, Refused
from jobrunner.controller.prepared import Prepared
from jobrunner.controller.projects.models import Backend
from jobrunner.sync import messages, strict_json
from jobrunner.sync.messages import (
    MAX_REQUEST_BYTES,
    PROTOCOL,
    Claim,
    ClaimReply,
    Events,
    EventsReply,
    Hello,
    HelloReply,
    Malformed,
    Message,
    Poll,
    PollReply,
    Renew,
    RenewReply,
)
from jobrunner.sync.vocabulary import Stage

M = TypeVar("M", bound=Message)

_HOLDER: Final = Prepared(lambda digest: Backend.objects.filter(credential_digest=digest))

_AGENT: Final = Prepared(lambda key: Backend.objects.filter(pk=key))


@dataclass(frozen=True, slots=True)
class Call:
    """One request of an agent: who says he is calling, for which attempt, and the body."""

    credential: str | None
    attempt_token: str | None
    body: bytes


def identify(credential: str | None) -> Backend:
    """The backend whose agent holds this credential; raises Refused (401)."""
    if credential is None:
        raise Refused(NO_CREDENTIAL)
    agent = _HOLDER.first(secret_text.digest(credential))
    if agent is None:
        raise Refused(NO_CREDENTIAL)
    return agent


def read(kind: type[M], body: bytes) -> M:
    """The message in `body`; raises Refused (400) for anything that is not exactly one."""
    try:
        return messages.parse(kind, body)
    except Malformed as error:
        raise Refused(MALFORMED) from error


def hello(call: Call, terms: Terms) -> HelloReply:
    """Note which agent speaks for the backend. Another protocol is refused before anything else is read."""
    agent = identify(call.credential)
    _check_protocol(call.body)
    message = read(Hello, call.body)
    Backend.objects.filter(pk=agent.pk).update(
        agent_id=message.agent_id,
        agent_version=message.version,
        agent_runtimes=" ".join(sorted(runtime.value for runtime in set(message.runtimes))),
        policy_digest=message.policy_digest,
        accepting=True,
        last_seen_at=timezone.now(),
    )
    return HelloReply(protocol=PROTOCOL)


def _check_protocol(body: bytes) -> None:
    try:
        value = strict_json.parse(body, limit=MAX_REQUEST_BYTES)
    except strict_json.NotStrictJson as error:
        raise Refused(MALFORMED) from error
    protocol = value.get("protocol") if isinstance(value, dict) else None
    if isinstance(protocol, int) and not isinstance(protocol, bool) and protocol != PROTOCOL:
        raise Refused(UNKNOWN_PROTOCOL)


def begin_poll(call: Call) -> tuple[Backend, Poll]:
    """Who polls, with what he tells noted: his free places, and whether he takes anything new.

    An agent that was paused from here takes nothing for that reason, which the jobs already say.
    """
    agent = identify(call.credential)
    poll = read(Poll, call.body)
    turns.note_seen(
        agent,
        now=timezone.now(),
        free_db=poll.slots.db,
        free_plain=poll.slots.plain,
        accepting=agent.accepting if agent.paused else poll.accepting,
    )
    return agent, poll


def look(agent_pk: int, poll: Poll, terms: Terms) -> tuple[PollReply, int]:
    """What there is to tell a polling agent now, and the count of changes up to which that holds."""
    now = timezone.now()
    agent = _AGENT.first(agent_pk)
    if agent is None:
        raise Backend.DoesNotExist
    found, cancels = offers.look(agent, accepting=poll.accepting, now=now, terms=terms)
    return PollReply(offers=found, cancels=cancels, pause=agent.paused, retry_after=None), agent.changes


def claim(call: Call, terms: Terms) -> ClaimReply:
    """Lease one job to the agent."""
    now = timezone.now()
    agent = identify(call.credential)
    return ClaimReply(lease=leases.claim(agent, read(Claim, call.body), now=now, terms=terms))


def renew(call: Call, terms: Terms) -> RenewReply:
    """Keep an attempt's lease; the answer also says what shall stop."""
    now = timezone.now()
    agent = identify(call.credential)
    lease = leases.renew(agent, read(Renew, call.body), call.attempt_token, now=now, terms=terms)
    return RenewReply(lease=lease, cancels=offers.cancels_for(agent, now=now, terms=terms))


def events(call: Call, terms: Terms) -> EventsReply:
    """Store what happened to an attempt; the answer to its end carries the next offers."""
    now = timezone.now()
    agent = identify(call.credential)
    batch = read(Events, call.body)
    agent = reports.receive(agent, batch, call.attempt_token, now=now)
    ended = any(event.stage is Stage.ENDED for event in batch.events)
    found, cancels = offers.after_events(agent, ended=ended, now=now, terms=terms)
    return EventsReply(
        acks=tuple(dict.fromkeys(event.event_id for event in batch.events)),
        offers=found,
        cancels=cancels,
        pause=agent.paused,
    )


CALLS: Final[Mapping[str, Callable[[Call, Terms], Message]]] = {
    "hello": hello,
    "claim": claim,
    "renew": renew,
    "events": events,
}
"""The calls that are answered at once. `poll` waits, so it is answered elsewhere (`agent_app`)."""
