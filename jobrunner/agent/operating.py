"""The operator's commands against a running agent, told as they go on."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jobrunner.agent import clock
from jobrunner.agent.control import NoAnswer, NotRunning, Word, say
from jobrunner.agent.overview import counted, plain, running_line
from jobrunner.agent.policy import load_site

_LOOK_EVERY_S: Final = 0.5
_SAY_AGAIN_S: Final = 60.0
_SILENCES: Final = 5


_CANARY_PATIENCE_S: Final = 120.0


class CannotEnd(Exception):
    """The agent could not be told, or did not end as it should; the text says what to do."""


class CannotAsk(Exception):
    """The agent could not be asked for something; the text says what to do."""


def canary_lines(policy_file: Path) -> Iterator[str]:
    """Have the running agent try its sandbox now, and say what it found. Raises PolicyProblem, CannotAsk."""
    state = load_site(policy_file).state
    before = _asked(state, Word.STATUS)["sandbox"]
    if before is None:
        raise CannotAsk("the policy names no image, so there is nothing to try the sandbox with.")
    _asked(state, Word.CANARY)
    yield "The agent tries its sandbox."
    deadline = time.monotonic() + _CANARY_PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        value = _asked(state, Word.STATUS)
        found = value["sandbox"]
        if found["at"] != before["at"]:
            yield plain(found["problem"]) or "Every wall held."
            yield from (plain(sentence) for sentence in value["halts"] if sentence != found["problem"])
            return
    raise CannotAsk("there is no answer yet; `jobrunner agent status` shows it when it comes.")


def trust_clock_lines(policy_file: Path) -> Iterator[str]:
    """Tell the running agent that the clock is right as it is. Raises PolicyProblem, CannotAsk."""
    value = _asked(load_site(policy_file).state, Word.TRUST_CLOCK)
    yield "The agent takes the clock as it is."
    yield from (plain(sentence) for sentence in value["halts"])


def _asked(state: Path, word: Word) -> dict[str, Any]:
    try:
        return say(state, word)
    except NotRunning as error:
        raise CannotAsk("no agent runs on this policy; start it first.") from error
    except NoAnswer as error:
        raise CannotAsk(f"{error}; look at its log.") from error


def end_lines(policy_file: Path, word: Word, *, wait: bool) -> Iterator[str]:
    """Say drain or abort, then with `wait` what still runs, until the agent has ended.

    Raises PolicyProblem, CannotEnd.
    """
    state = load_site(policy_file).state
    try:
        value = say(state, word)
    except NotRunning as error:
        raise CannotEnd(
            "no agent runs on this policy, so there is nothing to end; "
            "`jobrunner agent status` shows what it did last."
        ) from error
    except NoAnswer as error:
        raise CannotEnd(f"{error}; look at its log, or end it with `systemctl kill`.") from error
    yield _first_line(word)
    if not wait:
        yield "It ends by itself; `jobrunner agent status` shows what still runs."
        return
    yield from _until_ended(state, value)


def _first_line(word: Word) -> str:
    if word is Word.ABORT:
        return "The agent ends what runs: those jobs are cancelled by the site."
    return "The agent starts nothing new and ends when what runs has finished."


def _until_ended(state: Path, value: dict[str, Any]) -> Iterator[str]:
    said: list[str] = []
    said_at = float("-inf")
    silences = 0
    while True:
        doing = [f"{one['name']} {one['doing']}" for one in value["running"]]
        if doing != said or time.monotonic() > said_at + _SAY_AGAIN_S:
            yield from _still_lines(value)
            said, said_at = doing, time.monotonic()
        time.sleep(_LOOK_EVERY_S)
        try:
            value = say(state, Word.STATUS)
            silences = 0
        except NotRunning as ended:
            if ended.died:
                raise CannotEnd(
                    "the agent ended before everything was done; what is left goes on, or ends, when it is "
                    "started again. `jobrunner agent status` shows it."
                ) from ended
            yield "The agent has ended."
            return
        except NoAnswer as problem:
            silences += 1
            if silences == _SILENCES:
                raise CannotEnd(f"{problem}; look at its log.") from problem


def _still_lines(value: dict[str, Any]) -> Iterator[str]:
    running = value["running"]
    if not running:
        waiting = counted(value["waiting_events"], "event")
        yield f"Nothing runs any more; {waiting} still to be sent."
    for one in running:
        yield f"Still: {running_line(one, now=clock.now())}"
