"""The reusable actions of a request: each `name:version` resolved once, or the whole request refused.

project-yaml.md 6.9. What is found here is stored with the jobs and shown to people. Agents resolve the same
again for themselves and are never told (threats.md section 5 item 13).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobrunner.controller.jobs.asking import Complaint, RequestRefused
from jobrunner.pipeline.model import Action
from jobrunner.pipeline.reusable import ReusableActionProblem, is_reusable
from jobrunner.study import IntakeError, Mirrors
from jobrunner.study.reusable import ReusableSource, address, explain, pin, read_source

Use = tuple[str, str]
"""Name and version, as the first word of `run` has them."""


@dataclass(frozen=True, slots=True)
class Code:
    """Where the code of a reusable action is: address, tag and the commit that the tag named."""

    repo: str
    tag: str
    commit: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where reusable actions are: `prefix` is the address above their repositories."""

    mirrors: Mirrors
    prefix: str


def unresolved(actions: Sequence[Action], known: Mapping[Use, Code]) -> list[Action]:
    """Those of `actions` that are reusable and whose code is not known yet."""
    return [action for action in actions if is_reusable(action) and use_of(action) not in known]


def use_of(action: Action) -> Use:
    """Two actions of one use run the same code."""
    return action.image, action.image_version


def resolve(actions: Sequence[Action], shelf: Shelf, deadline: float) -> dict[Use, Code]:
    """The code of these reusable actions; `deadline` is a moment of the monotonic clock.

    Raises RequestRefused (422) with every problem of every action, RA001 to RA010. No host is asked as long
    as something can be said without.
    """
    by_use: dict[Use, list[Action]] = {}
    problems: list[ReusableActionProblem] = []
    for action in actions:
        by_use.setdefault(use_of(action), []).append(action)
        try:
            address(action, shelf.prefix)
        except ReusableActionProblem as problem:
            problems.append(problem)
    _refuse(problems)
    found = {}
    for use, users in by_use.items():
        url = address(users[0], shelf.prefix)
        commit = None
        try:
            pinned = pin(shelf.mirrors, url, use[1], deadline_s=max(0.1, deadline - time.monotonic()))
            commit = pinned.commit
            source = read_source(pinned, use[1])
        except IntakeError as error:
            problems += [explain(user, url, error, commit) for user in users]
            continue
        problems += _problems_of(source, users)
        found[use] = Code(**source.place)
    _refuse(problems)
    return found


def _problems_of(source: ReusableSource, users: Sequence[Action]) -> list[ReusableActionProblem]:
    problems = []
    for user in users:
        try:
            source.apply_to(user)
        except ReusableActionProblem as problem:
            problems.append(problem)
    return problems


def _refuse(problems: Sequence[ReusableActionProblem]) -> None:
    if problems:
        raise RequestRefused(422, [Complaint(problem.id, problem.message) for problem in problems])
