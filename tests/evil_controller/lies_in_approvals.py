"""Lies about who allowed a job: approvals that are none, are not of this, not by these people, not of now."""

import json
from collections.abc import Callable
from typing import Any, Final

from jobrunner.sync.approvals import canonical
from tests.agent.approvers import NOW, payload
from tests.evil_controller.lie import About, Lie, Play, approved
from tests.evil_controller.setting import Setting


def _forged(make: Callable[[Setting, dict[str, Any]], str]) -> Play:
    """A good offer with whatever is made of the payload that would be good."""

    def play(setting: Setting) -> About:
        fields = setting.fields(approval=None)
        good = payload(project=fields["project"], repos=[setting.url])
        return (setting.offer(fields | {"approval": make(setting, good)}), 1)

    return play


def _signed(setting: Setting, text: str, *, namespace: str = "jobrunner-approval") -> str:
    return setting.approver.sign(text, namespace=namespace)


def _carried(text: str, *signatures: str) -> str:
    return json.dumps({"payload": text, "signatures": list(signatures)})


def _altered(setting: Setting, good: dict[str, Any]) -> str:
    text = canonical(good)
    return _carried(text.replace('"serial":1', '"serial":2'), _signed(setting, text))


def _of_another(setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good), _signed(setting, canonical(good | {"database": True})))


def _of_another_purpose(setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good), _signed(setting, canonical(good), namespace="file"))


def _one_good_one_bad(setting: Setting, good: dict[str, Any]) -> str:
    text = canonical(good)
    return _carried(text, _signed(setting, text), setting.stranger.sign(text))


def _spelled_otherwise(setting: Setting, good: dict[str, Any]) -> str:
    text = json.dumps(good)
    return _carried(text, _signed(setting, text))


def _twice(setting: Setting, good: dict[str, Any]) -> str:
    text = canonical(good)[:-1] + ',"serial":9}'
    return _carried(text, _signed(setting, text))


def _unsigned(_setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good))


def _nine_times(setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good), *[_signed(setting, canonical(good))] * 9)


def _no_signature(_setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good), "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")


def _option(_setting: Setting, good: dict[str, Any]) -> str:
    return _carried(canonical(good), "-f/etc/ssh/allowed")


def _older(setting: Setting) -> About:
    project = setting.project()
    newer, older = (setting.approval(project, serial=serial) for serial in (2, 1))
    # The newer one is seen with an action that does not exist, so that nothing starts.
    setting.outcome(setting.offer(setting.fields(project=project, approval=newer, action="no")))
    return (setting.offer(setting.fields(project=project, approval=older)), 1)


def _database(**changes: Any) -> Play:
    def play(setting: Setting) -> About:
        fields = setting.fields(approval=None, action="extract")
        approval = setting.approval(fields["project"], **changes)
        return (setting.offer(fields | {"approval": approval}), 1)

    return play


def _of_parent(setting: Setting) -> About:
    fields = setting.fields(approval=None)
    approval = setting.approval(fields["project"], commits=[setting.commits.parent])
    return (setting.offer(fields | {"approval": approval}), 1)


def _invalid(name: str, tells: str, play: Play, detail: str, line: str) -> Lie:
    return Lie(f"approval-{name}", tells, play, "approval_invalid", detail, line, "wire")


_UNREADABLE: Final = "cannot be read"
_UNFIT: Final = "does not fit the approval"
_UNKNOWN: Final = "by no key that this site allows"

APPROVALS: Final[tuple[Lie, ...]] = (
    Lie(
        "approval-none",
        "no approval",
        lambda one: (one.offer(one.fields(approval=None)), 1),
        "approval_missing",
        "",
        "No approval came",
        "wire",
    ),
    _invalid("no-json", "an approval that is no JSON", _forged(lambda *_: "yes"), "malformed", _UNREADABLE),
    _invalid("empty", "an empty approval", _forged(lambda *_: ""), "malformed", _UNREADABLE),
    _invalid("deep", "a deep approval", _forged(lambda *_: "[" * 5000), "malformed", "nested deeper"),
    _invalid(
        "spelling",
        "the payload in another spelling, signed",
        _forged(_spelled_otherwise),
        "malformed",
        "canonical",
    ),
    _invalid(
        "two-serials", "a payload with two serials, signed", _forged(_twice), "malformed", "given twice"
    ),
    _invalid(
        "more",
        "a payload with a field more, signed",
        approved(images=["evil"]),
        "malformed",
        "images: extra_forbidden",
    ),
    _invalid(
        "fraction",
        "a serial that is no whole number, signed",
        approved(serial=1.5),
        "malformed",
        "serial: int_type",
    ),
    _invalid(
        "unsigned", "a payload without a signature", _forged(_unsigned), "malformed", "signatures: too_short"
    ),
    _invalid("nine", "nine signatures", _forged(_nine_times), "malformed", "signatures: too_long"),
    _invalid("no-signature", "rubbish as signature", _forged(_no_signature), "unknown_key", _UNKNOWN),
    _invalid("option", "an option of ssh-keygen as signature", _forged(_option), "unknown_key", _UNKNOWN),
    _invalid(
        "stranger", "a signature by an unknown key", approved(signer="stranger"), "unknown_key", _UNKNOWN
    ),
    _invalid(
        "one-stranger",
        "a good signature and one by an unknown key",
        _forged(_one_good_one_bad),
        "unknown_key",
        _UNKNOWN,
    ),
    _invalid(
        "revoked", "a signature by a revoked key", approved(signer="revoked"), "revoked", "by a revoked key"
    ),
    _invalid("altered", "one byte of the payload altered", _forged(_altered), "bad_signature", _UNFIT),
    _invalid("other-text", "the signature of another payload", _forged(_of_another), "bad_signature", _UNFIT),
    _invalid(
        "other-purpose", "a signature made for files", _forged(_of_another_purpose), "bad_signature", _UNFIT
    ),
    Lie(
        "approval-site",
        "an approval for another site",
        approved(sites=["site-two"]),
        "site_policy",
        "wrong_site",
        "is for site-two",
        "wire",
    ),
    _invalid(
        "project",
        "an approval of another project",
        lambda one: (one.offer(one.fields(approval=one.approval("heart-study"))), 1),
        "mismatch",
        "this project",
    ),
    _invalid(
        "repository",
        "an approval of another repository",
        approved(repos=["https://inside.example/studies/a"]),
        "mismatch",
        "this repo",
    ),
    _invalid(
        "branch", "an approval of another branch", approved(branches=["side"]), "mismatch", "this branch"
    ),
    _invalid(
        "commit", "an approval of other commits", approved(commits=["1" * 40]), "mismatch", "this commit"
    ),
    _invalid("parent", "an approval of the parent commit", _of_parent, "mismatch", "this commit"),
    _invalid(
        "action", "an approval of another action", approved(actions=["extract"]), "mismatch", "this action"
    ),
    Lie(
        "approval-expired",
        "an approval that has run out",
        approved(not_after=NOW - 1),
        "approval_expired",
        "expired",
        "has run out",
        "wire",
    ),
    Lie(
        "approval-not-yet",
        "an approval that is to come",
        approved(not_before=NOW + 3000),
        "approval_expired",
        "not_yet",
        "not in force yet",
        "wire",
    ),
    _invalid("older", "an older approval after a newer one", _older, "superseded", "newer approval"),
    Lie(
        "database-unapproved",
        "a database action under an approval without a database",
        _database(),
        "database_not_allowed",
        "approval",
        "allows no database",
        "wire",
    ),
    Lie(
        "database-other",
        "a database action under an approval of another dataset",
        _database(database=True, datasets=["births"]),
        "database_not_allowed",
        "dataset",
        "does not name dataset",
        "wire",
    ),
)
