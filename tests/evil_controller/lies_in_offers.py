"""Lies in an offer itself: what it says more, what it says less, and what is of another shape."""

from collections.abc import Callable
from typing import Any, Final

from jobrunner.sync.messages import MAX_APPROVAL_BYTES, MAX_OFFERS
from tests.evil_controller import replies
from tests.evil_controller.honest import poll_answer
from tests.evil_controller.lie import Lie, offered_so, said
from tests.evil_controller.setting import Setting

_SMUGGLED: Final[dict[str, Any]] = {
    "image": "python:v2",
    "image_id": "sha256:" + "6" * 64,
    "command": ["sh", "-c", "id"],
    "environment": {"LD_PRELOAD": "/evil.so"},
    "outputs": {"highly_sensitive": {"all": "**"}},
    "needs": [],
    "database": True,
    "mounts": ["/:/workspace"],
    "site": "site-one",
    "parent": "0" * 40,
    "job_id": "a" * 26,
    "attempt": 1,
    "token": "t" * 40,
}


def _with_more(name: str, value: Any) -> Lie:
    return Lie(
        f"offer-with-{name.replace('_', '-')}",
        f"an offer with a field more: {name}",
        offered_so(lambda fields: fields | {name: value}),
        "site_policy",
        "unknown_field",
        rf"offers\.0\.{name}: extra_forbidden",
        "journal",
    )


def _misshaped(
    name: str, tells: str, change: Callable[[dict[str, Any]], Any], place: str, problem: str
) -> Lie:
    return Lie(
        f"offer-{name}",
        tells,
        offered_so(change),
        "site_policy",
        "malformed",
        rf"offers\.0\.{place}: {problem}",
        "journal",
    )


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def _with(name: str, change: Callable[[str], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: fields | {name: change(fields[name])}


_PATTERN: Final = "string_pattern_mismatch"
_MISSHAPED: Final = (
    _misshaped("without-commit", "an offer without a commit", _without("commit"), "commit", "missing"),
    _misshaped(
        "without-approval", "an offer without the field approval", _without("approval"), "approval", "missing"
    ),
    _misshaped(
        "number-as-action", "a number as action", _with("action", lambda _: 5), "action", "string_type"
    ),
    _misshaped(
        "open-approval",
        "an approval as an object",
        _with("approval", lambda _: {}),
        "approval",
        "string_type",
    ),
    _misshaped(
        "short-commit", "a commit of 12 digits", _with("commit", lambda sha: sha[:12]), "commit", _PATTERN
    ),
    _misshaped(
        "upper-commit", "a commit in capitals", _with("commit", lambda _: "A" * 40), "commit", _PATTERN
    ),
    _misshaped(
        "commit-and-line",
        "a commit and a line end",
        _with("commit", lambda sha: sha + "\n"),
        "commit",
        _PATTERN,
    ),
    _misshaped("branch-as-commit", "`HEAD` as commit", _with("commit", lambda _: "HEAD"), "commit", _PATTERN),
    _misshaped(
        "project-path", "`../other` as project", _with("project", lambda _: "../other"), "project", _PATTERN
    ),
    _misshaped(
        "request-path",
        "`../request` as request",
        _with("request_id", lambda _: "../request"),
        "request_id",
        _PATTERN,
    ),
    _misshaped(
        "long-address",
        "an address of 301 bytes",
        _with("repo", lambda url: f"{url:x<301}"),
        "repo",
        "value_error",
    ),
    _misshaped(
        "long-branch", "a branch of 201 bytes", _with("branch", lambda _: "b" * 201), "branch", "value_error"
    ),
    _misshaped(
        "long-action", "an action of 129 bytes", _with("action", lambda _: "a" * 129), "action", "value_error"
    ),
    _misshaped(
        "long-approval",
        "an approval of more than 16 KiB",
        _with("approval", lambda _: "a" * (MAX_APPROVAL_BYTES + 1)),
        "approval",
        "value_error",
    ),
)


def _good_and_bad(setting: Setting) -> Any:
    return replies.answer(poll_answer(setting.fields(), setting.fields() | {"image": "evil"}))


def _too_many(setting: Setting) -> Any:
    # One and the same: they differ in nothing but that they are too many.
    return replies.answer(poll_answer(*[setting.fields()] * (MAX_OFFERS + 1)))


OFFERS: Final[tuple[Lie, ...]] = (
    *(_with_more(name, value) for name, value in _SMUGGLED.items()),
    *_MISSHAPED,
    Lie(
        "offer-beside-a-lie",
        "a good offer beside one with a field more",
        said(_good_and_bad),
        "site_policy",
        "unknown_field",
        r"offers\.1\.image: extra_forbidden",
        "journal",
    ),
    Lie("offers-17", "17 offers", said(_too_many), "site_policy", "malformed", "offers: too_long", "journal"),
)
