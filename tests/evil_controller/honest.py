"""What a decent controller would answer, without any state: it grants, renews and stores everything."""

import json
from typing import Any

TOKEN = "attempt-token-" + "t" * 40


def lease(attempt: int, *, token: str | None = TOKEN, seconds: int = 60) -> dict[str, Any]:
    """A lease as it stands in replies."""
    return {"attempt": attempt, "seconds": seconds, "token": token}


def poll_answer(*offers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer to a poll, or with other fields whatever a script wants."""
    return {"offers": list(offers), "cancels": [], "pause": False, "retry_after": None} | changes


def events_answer(body: bytes, **changes: Any) -> dict[str, Any]:
    """The answer to a batch of events: all are stored."""
    acks = [event["event_id"] for event in json.loads(body)["events"]]
    return {"acks": acks, "offers": [], "cancels": [], "pause": False} | changes


def honest_answer(call: str, body: bytes) -> tuple[int, bytes]:
    """Status and body."""
    said = json.loads(body)
    answers: dict[str, Any] = {
        "hello": lambda: {"protocol": 1},
        "poll": poll_answer,
        "claim": lambda: {"lease": lease(said["attempt"])},
        "renew": lambda: {"lease": lease(said["attempt"], token=None), "cancels": []},
        "events": lambda: events_answer(body),
    }
    if call not in answers:
        return 404, json.dumps({"error": "bad_request"}).encode()
    return 200, json.dumps(answers[call]()).encode()
