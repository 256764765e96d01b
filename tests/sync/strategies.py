"""Hypothesis strategies for what may cross the walls W1 and W2."""

import base64
from typing import Any

from hypothesis import strategies as st

from jobrunner.sync import messages
from jobrunner.sync.messages import MAX_ATTEMPT, Message
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ErrorCode, ExitClass, Reason, Runtime, Stage

ids = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=26, max_size=26)
slugs = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)
hex40 = st.text("0123456789abcdef", min_size=40, max_size=40)
hex64 = st.text("0123456789abcdef", min_size=64, max_size=64)
seconds = st.integers(0, 2**40)
attempts = st.integers(1, MAX_ATTEMPT)
tokens = st.text("ABCxyz019._:=-", min_size=1, max_size=256)
signatures = st.binary(min_size=64, max_size=64).map(lambda raw: base64.b64encode(raw).decode())


def _short(limit: int) -> st.SearchStrategy[str]:
    texts = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=limit
    )
    return texts.filter(lambda text: len(text.encode()) <= limit)


@st.composite
def event_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of an event that fit together, without its signature."""
    stage = draw(st.sampled_from(Stage))
    fields: dict[str, Any] = {"event_id": draw(ids), "job_id": draw(ids), "attempt": draw(attempts)}
    started = draw(st.none() | seconds)
    if stage is not Stage.ENDED:
        rest = {"exit_class": None, "reason": Reason(stage.value), "finished": None}
    else:
        exit_class = draw(st.sampled_from(ExitClass))
        reason = draw(st.sampled_from(sorted(REASONS_OF_EXIT[exit_class])))
        rest = {"exit_class": exit_class, "reason": reason, "finished": draw(seconds)}
    return fields | {"stage": stage, "started": started} | rest


@st.composite
def events(draw: st.DrawFn) -> messages.Event:
    """Events whose fields fit together; the signature has the right shape only."""
    return messages.Event(**draw(event_fields()), signature=draw(signatures))


@st.composite
def batches(draw: st.DrawFn) -> messages.Events:
    """Events of one attempt."""
    found = draw(st.lists(events(), min_size=1, max_size=4))
    same = {"job_id": found[0].job_id, "attempt": found[0].attempt}
    return messages.Events(events=tuple(event.model_copy(update=same) for event in found))


slots = st.builds(messages.Slots, db=st.integers(0, 64), plain=st.integers(0, 64))
offers = st.builds(
    messages.Offer,
    request_id=ids,
    project=slugs,
    repo=_short(300),
    branch=_short(200),
    commit=hex40,
    action=_short(128),
    approval=st.none() | _short(2000),
)
leases = st.builds(messages.Lease, attempt=attempts, seconds=st.integers(60, 3600), token=st.none() | tokens)
cancels = st.builds(messages.Cancel, job_id=ids, attempt=attempts)


def _tuples(of: st.SearchStrategy[Any], limit: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=limit).map(tuple)


MESSAGES: dict[type[Message], st.SearchStrategy[Any]] = {
    messages.Hello: st.builds(
        messages.Hello,
        agent_id=slugs,
        protocol=st.integers(1, 1000),
        version=st.text("0123456789abcXYZ.+-", min_size=1, max_size=32),
        runtimes=_tuples(st.sampled_from(Runtime), 2),
        policy_digest=hex64,
    ),
    messages.Slots: slots,
    messages.Poll: st.builds(messages.Poll, accepting=st.booleans(), slots=slots),
    messages.Claim: st.builds(messages.Claim, job_id=ids, attempt=attempts),
    messages.Renew: st.builds(messages.Renew, job_id=ids, attempt=attempts),
    messages.Event: events(),
    messages.Events: batches(),
    messages.Offer: offers,
    messages.Lease: leases,
    messages.Cancel: cancels,
    messages.HelloReply: st.builds(messages.HelloReply, protocol=st.integers(1, 1000)),
    messages.PollReply: st.builds(
        messages.PollReply,
        offers=_tuples(offers),
        cancels=_tuples(cancels),
        pause=st.booleans(),
        retry_after=st.none() | st.integers(1, 300),
    ),
    messages.ClaimReply: st.builds(messages.ClaimReply, lease=leases),
    messages.RenewReply: st.builds(messages.RenewReply, lease=leases, cancels=_tuples(cancels)),
    messages.EventsReply: st.builds(
        messages.EventsReply,
        acks=_tuples(ids),
        offers=_tuples(offers),
        cancels=_tuples(cancels),
        pause=st.booleans(),
    ),
    messages.ErrorReply: st.builds(messages.ErrorReply, error=st.sampled_from(ErrorCode)),
}
"""A strategy for every message class of the wire."""
