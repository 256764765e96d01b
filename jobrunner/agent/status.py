"""What the site's operator sees of the agent: read from the journal, nothing is asked or changed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jobrunner.agent.journal import Attempt, Journal, Step
from jobrunner.agent.policy import load_site


def _time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plain(text: str) -> str:
    """The text with every sign that a terminal would obey, or would not show, written as its code."""
    return "".join(
        character if character.isprintable() else f"\\u{{{ord(character):x}}}" for character in text
    )


def _line(attempt: Attempt) -> str:
    end = (
        ""
        if attempt.outcome is None
        else f"{attempt.outcome.exit_class.value}/{attempt.outcome.reason.value}"
    )
    where = end if attempt.step is Step.DONE else f"{end or 'running'}, at step {attempt.step.value}"
    detail = "" if attempt.outcome is None or not attempt.outcome.detail else f" ({attempt.outcome.detail})"
    return (
        f"{_time(attempt.created)}  {attempt.offer.project}  {_plain(attempt.offer.action)}  "
        f"{attempt.job_id}-{attempt.number}  {where}{detail}"
    )


def status_lines(policy_file: Path, last: int) -> Iterator[str]:
    """Lines about the newest attempts and incidents of the agent with this policy file."""
    site = load_site(policy_file)
    place = site.state / "agent.db"
    if not place.exists():
        yield ("The agent has not run yet: there is no journal.")
        return
    journal = Journal(place)
    attempts = journal.recent(last)
    yield (f"{len(attempts)} newest attempts (UTC):" if attempts else "No attempt yet.")
    for attempt in attempts:
        yield ("  " + _line(attempt))
        if attempt.outcome is not None and attempt.outcome.message:
            for line in attempt.outcome.message.split("\n"):
                yield (f"      {_plain(line)}")
    incidents = journal.incidents(last)
    yield (f"{len(incidents)} newest incidents:" if incidents else "No incident.")
    for second, job_id, number, reason, detail, message in incidents:
        about = "" if job_id is None else f"  {job_id}-{number}"
        yield (f"  {_time(second)}{about}  {reason} {detail}: {_plain(message)}")
