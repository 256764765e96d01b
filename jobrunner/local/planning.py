"""What `run` would do, in which order, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobrunner.local.problems import LocalProblem
from jobrunner.local.situation import Situation
from jobrunner.local.staleness import Verdict
from jobrunner.pipeline import Pipeline, RequestProblem, plan
from jobrunner.pipeline.planning import RUN_ALL

Doing = Literal["run", "maybe", "up_to_date"]


@dataclass(frozen=True, slots=True)
class Wish:
    """`order`: the actions asked for and all that they need, each after its needs. `options`: the action that
    runs in any case, and the option that says so."""

    order: tuple[str, ...]
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a plan. `maybe`: it runs if what `waits_for` write comes out otherwise than before."""

    action: str
    doing: Doing
    verdict: Verdict
    waits_for: tuple[str, ...] = ()


def wish(pipeline: Pipeline, requested: Sequence[str], *, fresh: bool, force_needs: bool) -> Wish:
    """What the words of the command ask for. Raises LocalProblem (request_invalid)."""
    try:
        order = plan(pipeline, requested, succeeded=(), active=(), force=True).to_run
    except RequestProblem as problem:
        lines = [f"{number}: {message}" for number, message in problem.problems]
        raise LocalProblem("request_invalid", "\n".join(lines)) from problem
    named = set(pipeline.actions) if RUN_ALL in requested else set(requested)
    options = {}
    if force_needs:
        options.update({name: "--force-needs" for name in order if name not in named})
    if fresh:
        options.update({name: "--fresh" for name in order if name in named})
    return Wish(order, options)


def steps(situation: Situation, wished: Wish) -> list[Step]:
    """The plan, one step for each action of the order."""
    found: dict[str, Step] = {}
    for name in wished.order:
        verdict = situation.verdict(name, wished.options.get(name, ""))
        needs = situation.pipeline.actions[name].needs
        unsure = tuple(need for need in dict.fromkeys(needs) if found[need].doing != "up_to_date")
        if verdict.runs:
            found[name] = Step(name, "run", verdict)
        elif unsure:
            found[name] = Step(name, "maybe", verdict, unsure)
        else:
            found[name] = Step(name, "up_to_date", verdict)
    return list(found.values())
