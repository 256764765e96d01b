"""Which actions a request runs, and in which order (project-yaml.md 6.7, 7 and 8; design.md section 5)."""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobrunner.pipeline.model import RETIRED_RUNTIMES, Action, Pipeline
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import listing, quote

RUN_ALL = "run_all"


class RequestProblem(Exception):
    """A request that cannot be planned: RQ003, RQ004 or RQ014, with a message for the person.

    `problems` holds every (id, message) that was found; `id` and `message` are those of the first.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{problems[0][0]}: {problems[0][1]}")
        self.problems = tuple(problems)
        self.id, self.message = problems[0]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request comes to.

    `to_run`: actions that get a new job, each after its needs. `reused`: needed actions with a succeeded run,
    which do not run. `waits_for`: needed actions that wait or run already in this workspace; they are not
    planned again. `nothing_to_do`: one sentence if `to_run` is empty, else None.
    """

    to_run: tuple[str, ...]
    reused: tuple[str, ...]
    waits_for: tuple[str, ...]
    nothing_to_do: str | None


def run_all_order(actions: Mapping[str, Action]) -> tuple[str, ...]:
    """The actions of `run_all` with all they need, each once, each after its needs.

    Of the actions whose needs are all listed, the one that stands first in the file comes next.
    """
    return _order(actions, _needed(actions, _all_of(actions)))


def plan(
    pipeline: Pipeline,
    requested: Sequence[str],
    *,
    succeeded: Collection[str],
    active: Collection[str],
    force: bool = False,
) -> Plan:
    """What to run for the requested actions in a workspace where some `succeeded` and some are `active`.

    Named actions run, succeeded or not; of their needs run those without a succeeded run, or all of them with
    `force`. `run_all` stands for every action, as if each were only needed. An action that waits or runs
    already is never planned again, whatever else holds for it. Raises RequestProblem. Time: near-linear.
    """
    actions = pipeline.actions
    _check_names(actions, requested)
    done, busy = frozenset(succeeded), frozenset(active)
    named = [name for name in dict.fromkeys(requested) if name != RUN_ALL]
    needed = _all_of(actions) if RUN_ALL in requested else []
    chosen, reused, waits_for = set(named) - busy, set[str](), set[str]()
    queue = [*needed, *_needs_of(actions, chosen)]
    while queue:
        name = queue.pop()
        if name in chosen or name in reused or name in waits_for:
            continue
        if name in busy:
            waits_for.add(name)
        elif name in done and not force:
            reused.add(name)
        else:
            chosen.add(name)
            queue.extend(actions[name].needs)
    to_run = _order(actions, chosen)
    _check_retired(actions, to_run)
    return Plan(
        to_run=to_run,
        reused=tuple(name for name in actions if name in reused),
        waits_for=tuple(name for name in actions if name in waits_for),
        nothing_to_do=None if to_run else _why_nothing(set(named) | set(needed), busy),
    )


def _all_of(actions: Mapping[str, Action]) -> list[str]:
    return [name for name in actions if name != RUN_ALL]


def _needs_of(actions: Mapping[str, Action], names: Iterable[str]) -> list[str]:
    return [need for name in names for need in actions[name].needs]


def _needed(actions: Mapping[str, Action], names: Iterable[str]) -> set[str]:
    """These actions and all they need, directly or not."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue.extend(actions[name].needs)
    return found


def _order(actions: Mapping[str, Action], names: Collection[str]) -> tuple[str, ...]:
    """The names, each after those of its needs that are among them; else in file order."""
    chosen = [name for name in actions if name in names]
    position = {name: number for number, name in enumerate(chosen)}
    left: dict[str, int] = {}
    followers: dict[str, list[str]] = {name: [] for name in chosen}
    for name in chosen:
        needs = {need for need in actions[name].needs if need in position}
        left[name] = len(needs)
        for need in needs:
            followers[need].append(name)
    ready = [position[name] for name in chosen if not left[name]]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = chosen[heapq.heappop(ready)]
        order.append(name)
        for follower in followers[name]:
            left[follower] -= 1
            if not left[follower]:
                heapq.heappush(ready, position[follower])
    if len(order) != len(chosen):
        raise ValueError("actions need each other in a circle; such a file is refused by PS023")
    return tuple(order)


def _check_names(actions: Mapping[str, Action], requested: Sequence[str]) -> None:
    if not requested:
        raise RequestProblem([("RQ003", "No action was asked for. Name at least one, or `run_all`.")])
    unknown = [name for name in dict.fromkeys(requested) if name != RUN_ALL and name not in actions]
    if unknown:
        suggestions = Suggestions(actions.keys())
        has = f"The file has: {listing(actions, 10)}." if actions else "The file has no actions."
        raise RequestProblem(
            [
                ("RQ004", f"There is no action {quote(name)}.{suggestions.hint(name)} {has}")
                for name in unknown
            ]
        )


def _check_retired(actions: Mapping[str, Action], names: Sequence[str]) -> None:
    retired = [name for name in names if actions[name].image in RETIRED_RUNTIMES]
    if retired:
        raise RequestProblem(
            [
                (
                    "RQ014",
                    f"Action {quote(name)} uses `{actions[name].image}`, which can no longer run. "
                    "Move it to ehrQL.",
                )
                for name in retired
            ]
        )


def _why_nothing(asked: set[str], busy: frozenset[str]) -> str:
    if not asked:
        return "The file has no actions, so there is nothing to run."
    if asked <= busy:
        return "Every action asked for is already waiting or running in this workspace."
    if asked & busy:
        return "Nothing was started: every action has already succeeded here, or waits or runs."
    return "Nothing was started: every action has already succeeded here. `--force` runs them again."
