"""Lies in the messages themselves: bytes that are no JSON of ours, and values outside of what they may be."""

import json
from collections.abc import Callable
from typing import Any, Final

from jobrunner.sync.identity import new_id
from tests.evil_controller import replies
from tests.evil_controller.honest import events_answer, lease, poll_answer
from tests.evil_controller.lie import About, Lie, Play, granted, said
from tests.evil_controller.server import Reply
from tests.evil_controller.setting import Setting


def _bytes(name: str, tells: str, body: Callable[[bytes], bytes], line: str) -> Lie:
    """A poll answered with what is made of the JSON of a good answer with a good offer."""

    def make(setting: Setting) -> Reply:
        return replies.answer(body(json.dumps(poll_answer(setting.fields())).encode()))

    return Lie(f"json-{name}", tells, said(make), "site_policy", "malformed", line, "journal")


def _value(name: str, tells: str, changes: dict[str, Any], line: str, detail: str = "malformed") -> Lie:
    """A poll answered with a good offer and one field that cannot be so."""

    def make(setting: Setting) -> Reply:
        return replies.answer(poll_answer(setting.fields(), **changes))

    return Lie(f"poll-{name}", tells, said(make), "site_policy", detail, line, "journal")


def _lease(name: str, tells: str, line: str, detail: str = "malformed", **changes: Any) -> Lie:
    return Lie(f"lease-{name}", tells, granted(**changes), "site_policy", detail, line, "journal")


_JSON: Final = (
    _bytes("deep", "200,000 brackets", lambda _: b"[" * 200_000, "nested deeper than 16"),
    _bytes(
        "nested",
        "a good answer with one value 17 deep",
        lambda good: good[:-1] + b',"x":' + b"[" * 17 + b"]" * 17 + b"}",
        "nested deeper than 16",
    ),
    _bytes(
        "big-number",
        "a number of 5,000 digits",
        lambda good: good.replace(b'"retry_after": null', b'"retry_after": 1' + b"0" * 5000),
        "a number is too large",
    ),
    _bytes(
        "large-number",
        "a number beyond 2**53",
        lambda good: good.replace(b'"retry_after": null', b'"retry_after": 9007199254740993'),
        "a number is too large",
    ),
    _bytes(
        "nan",
        "NaN",
        lambda good: good.replace(b'"retry_after": null', b'"retry_after": NaN'),
        "NaN and Infinity",
    ),
    _bytes(
        "infinite",
        "1e400",
        lambda good: good.replace(b'"retry_after": null', b'"retry_after": 1e400'),
        "not finite",
    ),
    _bytes("twice", "a key twice", lambda good: good[:-1] + b', "pause": true}', "a key is given twice"),
    _bytes(
        "offers-twice", "offers twice", lambda good: good[:-1] + b', "offers": []}', "a key is given twice"
    ),
    _bytes("nul", "a NUL in a text", lambda good: good.replace(b'"main"', b'"main\\u0000"'), "holds a NUL"),
    _bytes(
        "half-sign",
        "half of a surrogate pair",
        lambda good: good.replace(b'"main"', b'"main\\ud800"'),
        "not JSON in UTF-8",
    ),
    _bytes(
        "no-text",
        "bytes that are no UTF-8",
        lambda good: good.replace(b'"main"', b'"main\xff"'),
        "not JSON in UTF-8",
    ),
    _bytes("two-answers", "two answers in one body", lambda good: good + good, "not JSON in UTF-8"),
    _bytes("comment", "JSON with a comment", lambda good: good + b"// yes", "not JSON in UTF-8"),
    _bytes("nothing", "an empty body", lambda _: b"", "not JSON in UTF-8"),
    _bytes("list", "a list", lambda good: b"[" + good + b"]", "message: model_type"),
)

_POLLS: Final = (
    _value("pause", "`no` as pause", {"pause": "no"}, "pause: bool_type"),
    _value("pause-number", "1 as pause", {"pause": 1}, "pause: bool_type"),
    _value("retry-0", "retry_after 0", {"retry_after": 0}, "retry_after: greater_than_equal"),
    _value("retry-301", "retry_after 301", {"retry_after": 301}, "retry_after: less_than_equal"),
    _value("retry-fraction", "retry_after 1.5", {"retry_after": 1.5}, "retry_after: int_"),
    _value(
        "cancels-65",
        "65 cancels",
        {"cancels": [{"job_id": "a" * 26, "attempt": 1}] * 65},
        "cancels: too_long",
    ),
    _value(
        "cancel-100",
        "a cancel of attempt 100",
        {"cancels": [{"job_id": "a" * 26, "attempt": 100}]},
        r"cancels\.0\.attempt: less_than_equal",
    ),
    _value(
        "cancel-path",
        "a cancel of job `../x`",
        {"cancels": [{"job_id": "../x", "attempt": 1}]},
        r"cancels\.0\.job_id: string_pattern_mismatch",
    ),
    _value(
        "cancel-reason",
        "a cancel with a reason",
        {"cancels": [{"job_id": "a" * 26, "attempt": 1, "reason": "no"}]},
        r"cancels\.0\.reason: extra_forbidden",
        "unknown_field",
    ),
    _value(
        "policy",
        "a new policy beside offers",
        {"policy": {"mode": "dev"}},
        "policy: extra_forbidden",
        "unknown_field",
    ),
    _value(
        "approved",
        "`approved` beside offers",
        {"approved": True},
        "approved: extra_forbidden",
        "unknown_field",
    ),
    _value(
        "other-kind",
        "the answer to a claim, to a poll",
        {"lease": lease(1)},
        "lease: extra_forbidden",
        "unknown_field",
    ),
    Lie(
        "poll-without-pause",
        "an answer without pause",
        said(lambda one: replies.answer({"offers": [one.fields()], "cancels": [], "retry_after": None})),
        "site_policy",
        "malformed",
        "pause: missing",
        "journal",
    ),
)

_LEASES: Final = (
    _lease("59", "a lease of 59 s", r"lease\.seconds: greater_than_equal", seconds=59),
    _lease("3601", "a lease of 3,601 s", r"lease\.seconds: less_than_equal", seconds=3601),
    _lease("negative", "a lease of -1 s", r"lease\.seconds: greater_than_equal", seconds=-1),
    _lease("text", "a lease of `60`", r"lease\.seconds: int_type", seconds="60"),
    _lease("attempt-0", "attempt 0", r"lease\.attempt: greater_than_equal", attempt=0),
    _lease("attempt-100", "attempt 100", r"lease\.attempt: less_than_equal", attempt=100),
    _lease("no-token", "a lease without a token", "without a token", token=None),
    _lease(
        "token-header",
        "a token that would be a header more",
        r"lease\.token: string_pattern_mismatch",
        token="t\r\nX-Evil: 1",
    ),
    _lease("long-token", "a token of 257 bytes", r"lease\.token: value_error", token="t" * 257),
    _lease("more", "a lease with an image", r"lease\.image: extra_forbidden", "unknown_field", image="evil"),
)


def _replayed_claim(setting: Setting) -> About:
    """The answer to the first claim of a job again, when its second attempt is claimed."""
    fields = setting.fields(approval=None)
    job = setting.offer(fields)
    setting.outcome(job)
    setting.all_told()
    setting.controller.play("claim", replies.answer({"lease": lease(1)}))
    setting.offer(fields | {"approval": setting.approval(fields["project"])})
    return (job, 2)


def _others_token(setting: Setting) -> About:
    """The token of another job is carried back to its maker; it opens nothing here."""
    first = setting.fields(approval=None)
    setting.controller.play("claim", replies.answer({"lease": lease(1, token="token-of-the-first")}))
    setting.outcome(setting.offer(first))
    setting.controller.play("claim", replies.answer({"lease": lease(1, token="token-of-the-first")}))
    return (setting.offer(setting.fields(approval=None)), 1)


def _stray_cancel(setting: Setting) -> About:
    job = new_id()
    cancels = [{"job_id": job, "attempt": 1}]
    setting.controller.play("poll", *[replies.answer(poll_answer(cancels=cancels))] * 3)
    return (job, 1)


def _to_events(change: Callable[[Setting, dict[str, Any]], dict[str, Any]]) -> Play:
    """The first events of a job that is refused for want of an approval are answered with a lie."""

    def play(setting: Setting) -> About:
        setting.all_told()

        def reply(line: Any, request: Any) -> bool:
            return replies.answer(change(setting, events_answer(request.body)))(line, request)

        setting.controller.play("events", reply)
        return (setting.offer(setting.fields(approval=None)), 1)

    return play


def _hello(answer: Reply) -> Play:
    """The controller says that it speaks another protocol, and answers the new greeting with this."""

    def play(setting: Setting) -> About:
        setting.controller.play("hello", answer)
        setting.controller.play("poll", replies.answer({"error": "unknown_protocol"}, status=426))
        return None

    return play


def _flapping(setting: Setting) -> About:
    answers = [replies.answer(poll_answer(pause=number % 2 == 0)) for number in range(6)]
    setting.controller.play("poll", *answers)
    return None


_OTHERS: Final = (
    Lie(
        "lease-replayed",
        "the answer to an earlier claim again",
        _replayed_claim,
        "site_policy",
        "malformed",
        "attempt 1, which is over; 2 or more",
        "journal",
    ),
    Lie(
        "token-of-other",
        "another job's token, for a job without approval",
        _others_token,
        "approval_missing",
        "",
        "No approval came",
        "wire",
    ),
    Lie(
        "cancel-stray",
        "three times a cancel of a job that never was",
        _stray_cancel,
        "site_policy",
        "malformed",
        "a job that was never at this site",
        "journal",
    ),
    Lie(
        "events-more",
        "an answer to events with a field more",
        _to_events(lambda _, good: good | {"release": True}),
        "site_policy",
        "unknown_field",
        "answer to events was refused: release: extra_forbidden",
        "journal",
    ),
    Lie(
        "events-offer",
        "an answer to events with an offer that has an image",
        _to_events(lambda one, good: good | {"offers": [one.fields() | {"image": "evil"}]}),
        "site_policy",
        "unknown_field",
        r"answer to events was refused: offers\.0\.image",
        "journal",
    ),
    Lie(
        "events-acks",
        "an answer to events with 65 receipts",
        _to_events(lambda _, good: good | {"acks": ["a" * 26] * 65}),
        "site_policy",
        "malformed",
        "answer to events was refused: acks: too_long",
        "journal",
    ),
    Lie(
        "hello-protocol",
        "protocol 2",
        _hello(replies.answer({"protocol": 2})),
        "",
        "",
        "it speaks another protocol",
        "log",
    ),
    Lie(
        "hello-more",
        "a greeting with features",
        _hello(replies.answer({"protocol": 1, "features": []})),
        "site_policy",
        "unknown_field",
        "answer to hello was refused: features",
        "journal",
    ),
    Lie(
        "error-unknown",
        "an error that is not of the list",
        said(lambda _: replies.answer({"error": "please_update"}, status=400)),
        "",
        "",
        "status 400 and an unknown body",
        "log",
    ),
    Lie(
        "error-final-500",
        "a final error with status 500",
        said(lambda _: replies.answer({"error": "taken"}, status=500)),
        "",
        "",
        "^poll controller_unanswered taken",
        "log",
    ),
    Lie("pause-flapping", "pause on and off, six times", _flapping, "", "", "unpaused", "log"),
)

MESSAGES: Final[tuple[Lie, ...]] = (*_JSON, *_POLLS, *_LEASES, *_OTHERS)
