"""The closed list of messages (walls W1 and W2 of threats.md): shapes, bounds, sizes, nothing more."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from jobrunner.sync import messages
from jobrunner.sync.messages import (
    MAX_APPROVAL_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_OFFERS,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    Malformed,
    Message,
    parse,
)
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason, Stage
from tests.sync.strategies import MESSAGES, events

pytestmark = pytest.mark.unit

ID = "a" * 26
COMMIT = "0" * 40

VALID: dict[type[Message], dict[str, Any]] = {
    messages.Hello: {
        "agent_id": "site-one",
        "protocol": 1,
        "version": "1.2.3+x",
        "runtimes": ["runc", "runsc"],
        "policy_digest": "f" * 64,
    },
    messages.Slots: {"db": 0, "plain": 64},
    messages.Poll: {"accepting": True, "slots": {"db": 0, "plain": 1}},
    messages.Claim: {"job_id": ID, "attempt": 1},
    messages.Renew: {"job_id": ID, "attempt": 99},
    messages.Event: {
        "event_id": ID,
        "job_id": ID,
        "attempt": 1,
        "stage": "preparing",
        "exit_class": None,
        "reason": "preparing",
        "started": 0,
        "finished": None,
        "signature": "A" * 86 + "==",
    },
    messages.Offer: {
        "request_id": ID,
        "project": "p",
        "repo": "https://git.example/a/b",
        "branch": "main",
        "commit": COMMIT,
        "action": "a",
        "approval": None,
    },
    messages.Lease: {"attempt": 1, "seconds": 60, "token": "t"},
    messages.Cancel: {"job_id": ID, "attempt": 1},
    messages.HelloReply: {"protocol": 1},
    messages.PollReply: {"offers": [], "cancels": [], "pause": False, "retry_after": None},
    messages.ClaimReply: {"lease": {"attempt": 1, "seconds": 60, "token": "t"}},
    messages.RenewReply: {"lease": {"attempt": 1, "seconds": 60, "token": None}, "cancels": []},
    messages.EventsReply: {"acks": [], "offers": [], "cancels": [], "pause": False},
    messages.ErrorReply: {"error": "taken"},
}
VALID[messages.Events] = {"events": [VALID[messages.Event]]}

KINDS = sorted(VALID, key=lambda kind: kind.__name__)


def read(kind: type[Message], fields: Any) -> Message:
    return parse(kind, json.dumps(fields).encode())


def refused(kind: type[Message], fields: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read(kind, fields)
    return caught.value


def test_every_message_class_is_tested_here() -> None:
    classes = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    }
    assert classes == set(VALID) == set(MESSAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_message_is_taken(kind: type[Message]) -> None:
    assert json.loads(read(kind, VALID[kind]).to_bytes()) == VALID[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_refused_and_said_to_be_one(kind: type[Message]) -> None:
    assert refused(kind, VALID[kind] | {"extra": 1}).unknown_field


@pytest.mark.parametrize("kind", [messages.Poll, messages.Events, messages.ClaimReply, messages.RenewReply])
def test_an_unknown_field_inside_is_refused_too(kind: type[Message]) -> None:
    fields = json.loads(json.dumps(VALID[kind]))
    inner = next(value for value in fields.values() if isinstance(value, dict | list))
    (inner[0] if isinstance(inner, list) else inner)["extra"] = 1
    assert refused(kind, fields).unknown_field


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_field_is_refused(kind: type[Message]) -> None:
    for name in VALID[kind]:
        rest = {key: value for key, value in VALID[kind].items() if key != name}
        assert not refused(kind, rest).unknown_field


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [1.5, [[]], {"x": 1}, -1], ids=repr)
def test_no_field_takes_another_type(kind: type[Message], wrong: Any) -> None:
    for name in VALID[kind]:
        refused(kind, VALID[kind] | {name: wrong})


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_truth_values_are_not_guessed_from_text(kind: type[Message]) -> None:
    for name, value in VALID[kind].items():
        if isinstance(value, bool):
            refused(kind, VALID[kind] | {name: 1})
            refused(kind, VALID[kind] | {name: "true"})
        elif isinstance(value, int):
            refused(kind, VALID[kind] | {name: str(value)})
            refused(kind, VALID[kind] | {name: float(value)})
            refused(kind, VALID[kind] | {name: True})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", ["\n", " ", "\u0000", "\u0660"])
def test_a_pattern_must_fit_to_the_last_character(kind: type[Message], sign: str) -> None:
    for name in VALID[kind]:
        free = kind is messages.Offer and name in ("repo", "branch", "action")
        if isinstance(VALID[kind][name], str) and not free:
            refused(kind, VALID[kind] | {name: VALID[kind][name] + sign})


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        (messages.Hello, "protocol", 1, 1000),
        (messages.Slots, "db", 0, 64),
        (messages.Slots, "plain", 0, 64),
        (messages.Claim, "attempt", 1, 99),
        (messages.Renew, "attempt", 1, 99),
        (messages.Event, "attempt", 1, 99),
        (messages.Event, "started", 0, 2**40),
        (messages.Lease, "attempt", 1, 99),
        (messages.Lease, "seconds", 60, 3600),
        (messages.PollReply, "retry_after", 1, 300),
    ],
)
def test_bounds_of_numbers(kind: type[Message], name: str, low: int, high: int) -> None:
    for inside in (low, high):
        read(kind, VALID[kind] | {name: inside})
    for outside in (low - 1, high + 1):
        refused(kind, VALID[kind] | {name: outside})


@pytest.mark.parametrize(
    ("kind", "name", "high"),
    [
        (messages.Offer, "repo", 300),
        (messages.Offer, "branch", 200),
        (messages.Offer, "action", 128),
        (messages.Offer, "approval", MAX_APPROVAL_BYTES),
        (messages.Lease, "token", 256),
        (messages.Hello, "agent_id", 40),
        (messages.Hello, "version", 32),
        (messages.Offer, "project", 40),
    ],
)
def test_bounds_of_texts(kind: type[Message], name: str, high: int) -> None:
    read(kind, VALID[kind] | {name: "a" * high})
    refused(kind, VALID[kind] | {name: "a" * (high + 1)})


@pytest.mark.parametrize(("name", "high"), [("repo", 300), ("branch", 200), ("action", 128)])
def test_texts_are_counted_in_bytes(name: str, high: int) -> None:
    read(messages.Offer, VALID[messages.Offer] | {name: "\u00e9" * (high // 2)})
    refused(messages.Offer, VALID[messages.Offer] | {name: "\u00e9" * (high // 2 + 1)})


@pytest.mark.parametrize(
    ("kind", "name", "one", "high"),
    [
        (messages.PollReply, "offers", VALID[messages.Offer], MAX_OFFERS),
        (messages.EventsReply, "offers", VALID[messages.Offer], MAX_OFFERS),
        (messages.PollReply, "cancels", VALID[messages.Cancel], 64),
        (messages.RenewReply, "cancels", VALID[messages.Cancel], 64),
        (messages.EventsReply, "acks", ID, MAX_EVENTS),
        (messages.Events, "events", VALID[messages.Event], MAX_EVENTS),
        (messages.Hello, "runtimes", "runc", 2),
    ],
)
def test_bounds_of_lists(kind: type[Message], name: str, one: Any, high: int) -> None:
    read(kind, VALID[kind] | {name: [one] * high})
    refused(kind, VALID[kind] | {name: [one] * (high + 1)})


def test_a_batch_is_of_one_attempt_and_not_empty() -> None:
    one = VALID[messages.Event]
    refused(messages.Events, {"events": []})
    refused(messages.Events, {"events": [one, one | {"attempt": 2}]})
    refused(messages.Events, {"events": [one, one | {"job_id": "b" * 26}]})


@pytest.mark.parametrize("kind", [messages.ErrorReply, messages.Event, messages.Hello])
def test_an_unknown_enum_value_is_refused(kind: type[Message]) -> None:
    name, value = {
        messages.ErrorReply: ("error", "gone"),
        messages.Event: ("reason", "data_said_so"),
        messages.Hello: ("runtimes", ["kata"]),
    }[kind]
    assert not refused(kind, VALID[kind] | {name: value}).unknown_field


def test_stage_exit_class_reason_and_end_must_fit_together() -> None:
    for stage, exit_class, reason, finished in itertools.product(
        Stage, [None, *ExitClass], Reason, [None, 5]
    ):
        changes = {"stage": stage, "exit_class": exit_class, "reason": reason, "finished": finished}
        if stage is Stage.ENDED:
            fits = exit_class is not None and reason in REASONS_OF_EXIT[exit_class] and finished is not None
        else:
            fits = exit_class is None and reason.value == stage.value and finished is None
        if fits:
            read(messages.Event, VALID[messages.Event] | changes)
        else:
            refused(messages.Event, VALID[messages.Event] | changes)


def test_each_terminal_reason_belongs_to_exactly_one_exit_class() -> None:
    listed = [reason for reasons in REASONS_OF_EXIT.values() for reason in reasons]
    stages = {Reason(stage.value) for stage in Stage if stage is not Stage.ENDED}
    assert len(listed) == len(set(listed))
    assert set(listed) | stages == set(Reason)
    assert not set(listed) & stages


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_round_trip(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    assert parse(kind, message.to_bytes()) == message


json_values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_message_or_malformed(raw: bytes) -> None:
    for kind in KINDS:
        try:
            assert isinstance(parse(kind, raw), kind)
        except Malformed:
            pass


@given(events())
def test_any_event_fits_into_1_kib(event: messages.Event) -> None:
    assert len(event.to_bytes()) <= MAX_EVENT_BYTES


def largest_event() -> messages.Event:
    reason = max(REASONS_OF_EXIT[ExitClass.REFUSED], key=len)
    return messages.Event(
        event_id=ID, job_id=ID, attempt=99, stage=Stage.ENDED, exit_class=ExitClass.REFUSED, reason=reason,
        started=2**40, finished=2**40, signature="+" * 86 + "==",
    )  # fmt: skip


def test_64_of_the_largest_events_fit_into_a_request() -> None:
    event = largest_event()
    assert len(event.to_bytes()) <= MAX_EVENT_BYTES
    batch = messages.Events(events=(event,) * MAX_EVENTS)
    assert len(batch.to_bytes()) <= MAX_REQUEST_BYTES
    assert parse(messages.Events, batch.to_bytes()) == batch


def largest_offer(approval: str) -> messages.Offer:
    return messages.Offer(
        request_id=ID, project="p" * 40, repo="r" * 300, branch="b" * 200, commit=COMMIT,
        action="a" * 128, approval=approval,
    )  # fmt: skip


def test_16_offers_with_the_largest_approvals_fit_into_a_reply() -> None:
    # An approval is JSON that holds JSON: each quote of the payload travels as three backslashes and a quote.
    payload = json.dumps({"repos": ["https://git.example/org/repository"] * 32, "commits": [COMMIT] * 200})
    signature = "-----BEGIN SSH SIGNATURE-----\n" + ("U" * 70 + "\n") * 4 + "-----END SSH SIGNATURE-----\n"
    approval = json.dumps({"payload": payload, "signatures": [signature] * 8})
    approval += " " * (MAX_APPROVAL_BYTES - len(approval))
    reply = messages.PollReply(
        offers=(largest_offer(approval),) * MAX_OFFERS,
        cancels=(messages.Cancel(job_id=ID, attempt=99),) * 64,
        pause=False,
        retry_after=300,
    )
    assert len(reply.to_bytes()) <= MAX_REPLY_BYTES
    assert parse(messages.PollReply, reply.to_bytes()) == reply


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_more_than_its_wall_allows_is_refused(kind: type[Message]) -> None:
    body = json.dumps(VALID[kind]).encode()
    parse(kind, body + b" " * (kind.limit - len(body)))
    with pytest.raises(Malformed, match="longer"):
        parse(kind, body + b" " * (kind.limit - len(body) + 1))


def test_limits_are_those_of_the_walls() -> None:
    for kind in KINDS:
        replies = kind.__name__.endswith("Reply")
        assert kind.limit == (MAX_REPLY_BYTES if replies else MAX_REQUEST_BYTES)
    assert (MAX_REQUEST_BYTES, MAX_REPLY_BYTES, MAX_EVENT_BYTES) == (65536, 524288, 1024)


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_names_places_and_kinds_but_quotes_no_value(kind: type[Message]) -> None:
    for name in VALID[kind]:
        problem = refused(kind, VALID[kind] | {name: {"canary-value": "canary-value"}})
        assert "canary-value" not in str(problem).replace(f"{name}.canary-value", "")


def test_messages_cannot_be_changed() -> None:
    claim = messages.Claim(job_id=ID, attempt=1)
    with pytest.raises(ValueError, match="frozen"):
        claim.attempt = 2  # type: ignore[misc]


def test_the_types_alone_refuse_too() -> None:
    for name, wrong in [("Id26", "A" * 26), ("Slug", "Ab"), ("Hex40", "F" * 40), ("Hex64", "f" * 63)]:
        with pytest.raises(ValueError, match="pattern"):
            TypeAdapter(getattr(messages, name)).validate_python(wrong)
