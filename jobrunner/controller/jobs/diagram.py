"""`docs/job-states.md`, written from the transition table and the sentences, so that it cannot grow old."""

from jobrunner.controller.jobs.transitions import REASONS, RULES, Situation, State
from jobrunner.controller.jobs.why import MEANING

_HEAD = """\
# The states of a job

This page is generated from `jobrunner/controller/jobs/transitions.py`; a test compares them.
Each step is one transaction and appends one event. There are no other steps.
"""

_WAITS = {
    "waiting_for_dependencies": "Actions that it needs have not finished.",
    "waiting_for_agent": "It is ready; the backend's agent has not taken it yet.",
    "waiting_for_capacity": "It is ready; all places of its kind at the backend are taken.",
    "paused": "It is ready; the backend's operators have paused it.",
    "retrying": "An attempt ended with an error that is not the study's; it is tried again.",
}


def document() -> str:
    """The whole page as Markdown."""
    return "\n".join((_HEAD, *_drawing(), "", *_steps(), "", *_reasons())) + "\n"


def _drawing() -> list[str]:
    """One arrow for each pair of states, with the causes that lead along it."""
    causes: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        befores = dict.fromkeys(situation.state.value for situation in rule.before) or {"[*]": None}
        afters = dict.fromkeys(situation.state.value for situation in rule.after)
        for before in befores:
            for after in afters:
                causes.setdefault((before, after), []).append(rule.cause)
    arrows = [f"    {before} --> {after}: {'<br/>'.join(names)}" for (before, after), names in causes.items()]
    return ["```mermaid", "stateDiagram-v2", *arrows, "```"]


def _steps() -> list[str]:
    rows = [
        f"| {rule.cause} | {_listed(rule.before) or 'a new job'} | {_listed(rule.after)} |" for rule in RULES
    ]
    return ["## Steps", "", "| what happens | before | after |", "|---|---|---|", *rows]


def _listed(situations: tuple[Situation, ...]) -> str:
    by_state: dict[State, list[str]] = {}
    for situation in situations:
        by_state.setdefault(situation.state, []).append(situation.reason)
    return "; ".join(f"{state.value} ({', '.join(reasons)})" for state, reasons in by_state.items())


def _reasons() -> list[str]:
    rows = [
        f"| {state.value} | {reason} | {MEANING.get((state, reason)) or _WAITS[reason]} |"
        for state, reasons in REASONS.items()
        for reason in reasons
    ]
    return ["## Reasons", "", "| state | reason | what it means |", "|---|---|---|", *rows]
