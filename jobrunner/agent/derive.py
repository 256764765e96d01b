"""What a job is, worked out from the commit and the site's policy alone (threats.md section 6).

The offer names an action; command, image, outputs, levels and needs are read from the commit's own
project.yaml, image and first words of a reusable action from its action.yaml. Nothing here takes a value
from the controller but the action's id.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from jobrunner.agent.outcome import end
from jobrunner.agent.policy import ImageSection, Policy
from jobrunner.pipeline import RUNTIMES, Action, load
from jobrunner.pipeline.model import Loaded
from jobrunner.pipeline.reusable import ReusableActionProblem, is_reusable
from jobrunner.pipeline.starting import image_name, is_too_long
from jobrunner.study.reusable import ReusableSource
from jobrunner.sync.vocabulary import Reason

PIPELINE_LIMIT: Final = 5_000_001
# A larger file is read again for each of its actions, since what it becomes takes many times its size.
_REMEMBERED_BYTES: Final = 64 * 1024
_ACTION_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Derived:
    """One action as this site will run it. `patterns` are (pattern, level as in project.yaml); `actions`
    are the ids of all actions in the file. `dataset` names the database that it may read if the approval says
    so too; None for every action that is no database action. `source` is where the code of a reusable action
    comes from; None for every other action, whose code is the study's."""

    image: str
    image_section: ImageSection
    argv: tuple[str, ...]
    needs: tuple[str, ...]
    patterns: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]
    dataset: str | None = None
    source: ReusableSource | None = None


def derive(
    pipeline_file: bytes,
    action_id: str,
    policy: Policy,
    find_source: Callable[[Action], ReusableSource],
) -> Derived:
    """The action of this name in this project.yaml. `find_source` is asked for reusable actions only.

    Raises Ended with pipeline_invalid (the first rule's id), action_unknown, image_not_allowed (name) or
    database_not_allowed (image, argument), and whatever `find_source` raises. Whether the approval allows the
    database is asked elsewhere.
    """
    loaded = _read(pipeline_file)
    if loaded.pipeline is None:
        first = next(problem for problem in loaded.problems if problem.severity == "error")
        raise end(Reason.PIPELINE_INVALID, first.id, f"project.yaml line {first.line}: {first.message}")
    action = loaded.pipeline.actions.get(action_id)
    if action is None or _ACTION_FILE_NAME.fullmatch(action_id) is None:
        raise end(Reason.ACTION_UNKNOWN, "", f"project.yaml at this commit has no action {action_id!r}.")
    source = find_source(action) if is_reusable(action) else None
    if source is not None:
        action = _borrowed(action, source)
    image, section = _image(action, policy)
    argv = action.command()
    dataset = _dataset(action, image, section, policy) if action.is_database_action else None
    if is_too_long(action, argv):
        raise end(Reason.PIPELINE_INVALID, "PS036", "The command with its config is too long to be started.")
    return Derived(
        image=image,
        image_section=section,
        argv=argv,
        needs=tuple(dict.fromkeys(action.needs)),
        patterns=action.patterns(),
        actions=tuple(loaded.pipeline.actions),
        dataset=dataset,
        source=source,
    )


def _read(pipeline_file: bytes) -> Loaded:
    if len(pipeline_file) > _REMEMBERED_BYTES:
        return load(pipeline_file)
    return _remembered(pipeline_file)


@lru_cache(maxsize=8)
def _remembered(pipeline_file: bytes) -> Loaded:
    """The same bytes mean the same, whatever request they come with; all jobs of one have the same."""
    return load(pipeline_file)


def _borrowed(action: Action, source: ReusableSource) -> Action:
    """The study's action with the image and the words of the reusable one."""
    try:
        return source.apply_to(action)
    except ReusableActionProblem as problem:
        raise end(Reason.PIPELINE_INVALID, problem.id, problem.message) from problem


def _image(action: Action, policy: Policy) -> tuple[str, ImageSection]:
    if action.image not in RUNTIMES:
        raise end(Reason.IMAGE_NOT_ALLOWED, "name", f"{action.image} is retired and can no longer run.")
    name = image_name(action)
    section = policy.images.get(name)
    if section is None:
        raise end(Reason.IMAGE_NOT_ALLOWED, "name", f"The policy of this site names no image for {name}.")
    return name, section


def _dataset(action: Action, image: str, section: ImageSection, policy: Policy) -> str:
    """The dataset that a database action of this image may read (threats.md section 3 item 1)."""
    database = policy.database
    if database is None:
        raise end(Reason.DATABASE_NOT_ALLOWED, "image", "This site has no database for actions.")
    if not database.allows(section.id):
        raise end(Reason.DATABASE_NOT_ALLOWED, "image", f"The policy of this site gives {image} no database.")
    if not database.allows_argument(section.id, action.argv):
        raise end(
            Reason.DATABASE_NOT_ALLOWED,
            "argument",
            f"The policy of this site gives {image} the database for other first arguments only.",
        )
    return database.dataset
