"""What a running agent says of itself on its control socket, and how that reads."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import is_database
from jobrunner.agent.canary import Verdict
from jobrunner.agent.dispatch import Places

_DOING = {
    Step.VERIFY: "checking its approval",
    Step.FETCH: "fetching its commit",
    Step.STAGE: "getting its inputs",
    Step.START: "starting",
    Step.WAIT: "running",
    Step.COLLECT: "collecting its outputs",
    Step.DELIVER: "publishing its outputs",
    Step.CLEAN_UP: "being cleaned up",
}

HALTED: Final = "halted"
_MEANS = {
    "paused by the controller": "It starts nothing new; what runs goes on.",
    HALTED: "It starts nothing new; what runs goes on. This is why:",
    "draining": "It starts nothing new, and ends when what runs has finished.",
    "aborting": "It starts nothing new, and ends what runs.",
}


def running_value(attempt: Attempt, *, waits_for_database: bool) -> dict[str, Any]:
    """One attempt as JSON values. `since` (seconds UTC): its command began, or else it was claimed."""
    begun = attempt.facts.get("begun")
    doing = "waiting for a database place" if waits_for_database else _DOING[attempt.step]
    return {
        "name": f"{attempt.job_id}-{attempt.number}",
        "project": attempt.offer.project,
        "action": attempt.offer.action,
        "database": is_database(attempt),
        "doing": doing if attempt.cancel is None else f"{doing}, and told to stop",
        "since": attempt.created if begun is None else begun,
    }


def overview_value(
    *,
    state: str,
    policy: str,
    version: str,
    started: int,
    answered: int | None,
    problem: str,
    halts: Sequence[str],
    tried: Verdict | None,
    places: Places,
    waiting_events: int,
    running: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Everything as JSON values.

    `state` is a plain word or two, `policy` the digest of the policy file, `tried` what the canary found
    last.
    """
    return {
        "state": state,
        "policy": policy,
        "version": version,
        "started": started,
        "answered": answered,
        "problem": problem,
        "halts": list(halts),
        "sandbox": None if tried is None else {"at": tried.at, "problem": tried.sentence},
        "places": [places.taken, places.total],
        "database_places": [places.database_taken, places.database],
        "waiting_events": waiting_events,
        "running": list(running),
    }


def overview_lines(value: dict[str, Any], *, now: int) -> Iterator[str]:
    """The same in plain words."""
    yield f"The agent is {value['state']}. It was started {_ago(value['started'], now)}."
    if value["state"] in _MEANS:
        yield _MEANS[value["state"]]
    for sentence in value["halts"]:
        yield f"  {plain(sentence)}"
    yield f"Controller: {_contact(value, now)}"
    if value["sandbox"] is not None:
        held = "did not hold" if value["sandbox"]["problem"] else "held"
        yield f"The sandbox {held} when it was tried {_ago(value['sandbox']['at'], now)}."
    taken, total = value["places"]
    database_taken, database = value["database_places"]
    share = f"; database actions have {database_taken} of {database}" if database else ""
    yield f"Places: {taken} of {total} taken{share}."
    if value["waiting_events"]:
        yield f"Events that wait to be sent: {value['waiting_events']}."
    yield f"{counted(len(value['running']), 'job')} now:" if value["running"] else "No job now."
    for one in value["running"]:
        yield "  " + running_line(one, now=now)


def running_line(one: dict[str, Any], *, now: int) -> str:
    """One attempt in plain words."""
    kind = " (database)" if one["database"] else ""
    return (
        f"{one['project']}  {plain(one['action'])}{kind}  {one['name']}  {one['doing']}, "
        f"since {_ago(one['since'], now)}"
    )


def counted(count: int, name: str) -> str:
    """Such as `1 job` and `2 jobs`."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def plain(text: str) -> str:
    """The text with every sign that a terminal would obey, or would not show, written as its code."""
    return "".join(
        character if character.isprintable() else f"\\u{{{ord(character):x}}}" for character in text
    )


def time_text(second: int) -> str:
    """A second as people read it, UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _contact(value: dict[str, Any], now: int) -> str:
    answered = value["answered"]
    last = "it has not answered yet" if answered is None else f"it last answered {_ago(answered, now)}"
    return f"{last}; since then: {plain(value['problem'])}" if value["problem"] else f"{last}."


def _ago(second: int, now: int) -> str:
    gone = max(0, now - second)
    for unit, length in (("h", 3600), ("min", 60)):
        if gone >= 2 * length:
            return f"{gone // length} {unit} ago ({time_text(second)})"
    return f"{gone} s ago"
