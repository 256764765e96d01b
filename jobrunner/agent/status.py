"""What the site's operator sees: what the running agent says of itself, and what its journal holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobrunner.agent import clock
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.control import NoAnswer, NotRunning, Word, say
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import STUDYS_OWN
from jobrunner.agent.overview import counted, overview_lines, plain, time_text
from jobrunner.agent.policy import load_site

_OWN_ADVICE: Final = "; for their researchers to mend, who see the reason, but not the log."
_MOST_LINES: Final = 20
_MOST_CHARACTERS: Final = 4_000


def _line(attempt: Attempt) -> str:
    end = (
        ""
        if attempt.outcome is None
        else f"{attempt.outcome.exit_class.value}/{attempt.outcome.reason.value}"
    )
    where = end if attempt.step is Step.DONE else f"{end or 'not ended'}, at step {attempt.step.value}"
    detail = "" if attempt.outcome is None or not attempt.outcome.detail else f" ({attempt.outcome.detail})"
    return (
        f"{time_text(attempt.created)}  {attempt.offer.project}  {plain(attempt.offer.action)}  "
        f"{attempt.job_id}-{attempt.number}  {where}{detail}"
    )


def _first_lines(message: str) -> Iterator[str]:
    """What fits on a screen of a message that a job may have made long: 20 lines, 4,000 characters."""
    lines = message.split("\n")
    left = _MOST_CHARACTERS
    for number, line in enumerate(lines):
        if number == _MOST_LINES or left <= 0:
            yield f"... and {counted(len(lines) - number, 'more line')}."
            return
        shown = plain(line[:left])
        yield shown if len(shown) <= left else f"{shown[:left]}..."
        left -= len(shown)


def _now_lines(state: Path) -> Iterator[str]:
    try:
        yield from overview_lines(say(state, Word.STATUS), now=clock.now())
    except NotRunning as ended:
        yield f"The agent is not running{'; it ended all of a sudden' if ended.died else ''}."
    except NoAnswer as problem:
        yield f"The agent does not answer: {problem}."


def status_lines(policy_file: Path, last: int) -> Iterator[str]:
    """Lines about the agent with this policy file, its newest attempts and incidents."""
    site = load_site(policy_file)
    place = site.state / "agent.db"
    if not place.exists():
        yield ("The agent has not run yet: there is no journal.")
        return
    yield from _now_lines(site.state)
    journal = Journal(place)
    attempts = journal.recent(last)
    yield (f"{counted(len(attempts), 'newest attempt')} (UTC):" if attempts else "No attempt yet.")
    for attempt in attempts:
        yield ("  " + _line(attempt))
        if attempt.outcome is not None and attempt.outcome.message:
            for line in _first_lines(attempt.outcome.message):
                yield (f"      {line}")
    own = journal.count_ended(STUDYS_OWN)
    yield f"Jobs that failed in the study's own code: {own}{_OWN_ADVICE if own else '.'}"
    incidents = journal.incidents(last)
    yield (f"{counted(len(incidents), 'newest incident')} (UTC):" if incidents else "No incident.")
    for second, job_id, number, reason, detail, message in incidents:
        about = "" if job_id is None else f"  {job_id}-{number}"
        yield (f"  {time_text(second)}{about}  {reason} {detail}: {' '.join(_first_lines(message))}")
