"""What an `action.yaml` makes of a study's action, and the words of every refusal (project-yaml.md 6.9).

Finding the repository, tag and commit is not done here: `jobrunner.study.reusable` does.
"""

import re
from dataclasses import replace
from typing import Final, Literal

from jobrunner.pipeline.commands import read_command
from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.model import RETIRED_RUNTIMES, RUNTIMES, Action, is_database_action
from jobrunner.pipeline.nodes import MAPPING, TEXT
from jobrunner.pipeline.wording import plain, quote
from jobrunner.pipeline.words import IMAGE_NAME, MAX_IMAGE_NAME

GitRule = Literal["RA002", "RA003", "RA004", "RA005"]

_GIT_TEXTS: Final[dict[GitRule, str]] = {
    "RA002": "nothing found at `{url}`. Check the name against actions.opensafely.org; if it is right, try "
    "again later.",
    "RA003": "`{url}` has no tag `{tag}`. See `{url}/tags`.",
    "RA004": "tag `{tag}` is not approved (not on branch `main`). Use an approved one, or ask for approval.",
    "RA005": "{commit} of `{url}` could not be read. Try again; if it persists, tell support.",
}
_FAULTS = {
    "empty": "`run` is empty",
    "blank": "`run` is blank",
    "control": "`run` holds a control character",
    "open": "`run` has an open quote",
}


class ReusableActionProblem(Exception):
    """The request cannot run as asked: `id` is one of RA001 to RA010, `message` is for the person."""

    def __init__(self, rule: str, action: Action, text: str) -> None:
        self.id = rule
        uses = quote(f"{action.image}:{action.image_version}")
        self.message = f"Action {quote(action.id)} uses {uses}: {text}"
        super().__init__(f"{rule}: {self.message}")


def is_reusable(action: Action) -> bool:
    """Whether the first word names a reusable action and no runtime, retired ones included."""
    return action.image not in RUNTIMES and action.image not in RETIRED_RUNTIMES


def check_name(action: Action) -> None:
    """RA001: a guard, as no checked file has such a name. To be asked before an address is built from it."""
    if len(action.image) > MAX_IMAGE_NAME or not re.fullmatch(IMAGE_NAME, action.image):
        text = f"the name {quote(action.image)} cannot be a repository."
        raise ReusableActionProblem("RA001", action, f"{text} Check the spelling at actions.opensafely.org.")


def git_problem(rule: GitRule, action: Action, url: str, commit: str | None) -> ReusableActionProblem:
    """RA002 to RA005: what git did not find or could not read. `commit` where it is known."""
    shown = f"commit `{commit}`" if commit else "a commit"
    text = _GIT_TEXTS[rule].format(url=url, tag=plain(action.image_version), commit=shown)
    return ReusableActionProblem(rule, action, text)


def unreadable_file(action: Action, url: str, what: str) -> ReusableActionProblem:
    """RA007: there is an `action.yaml`, but it cannot be taken. `what` is a sentence."""
    text = f"its `action.yaml` cannot be read: {what} {_report(url)}"
    return ReusableActionProblem("RA007", action, text)


def apply(action: Action, action_file: bytes | None, url: str) -> Action:
    """The study's action as it is started: image and first words from `action.yaml`, then the study's words.

    `action_file` is that file at the resolved commit, None if there is none; `url` is its repository's
    address. Raises ReusableActionProblem.
    """
    check_name(action)
    report = _report(url)
    if action_file is None:
        text = f"`{url}` at {quote(action.image_version)} is no reusable action: it has no `action.yaml`."
        raise ReusableActionProblem("RA006", action, text)
    root, problems = read_tree(action_file)
    if problems:
        first = problems[0]
        raise unreadable_file(action, url, f"{first.message} (line {first.line}, column {first.column}).")
    if root is None or root.kind is not MAPPING:
        raise unreadable_file(action, url, "no mapping.")
    _, run = root.entries.get("run", (None, None))
    if run is None or run.kind is not TEXT:
        what = "`run` is missing" if run is None else "`run` is no text"
        raise ReusableActionProblem(
            "RA008", action, f"its `action.yaml` has no usable `run`: {what}. {report}"
        )
    command = read_command(run.text)
    image = command.image
    if command.fault or image.version is None:
        what = _FAULTS[command.fault] if command.fault else "the image has no version"
        raise ReusableActionProblem(
            "RA008", action, f"its `action.yaml` has no usable `run`: {what}. {report}"
        )
    if image.name not in RUNTIMES:
        text = f"its `action.yaml` asks for the unknown runtime {quote(image.name)}. {report}"
        raise ReusableActionProblem("RA009", action, text)
    argv = (*command.argv, *action.argv)
    if is_database_action(image.name, argv):
        text = f"a reusable action may not use the database. {report}"
        raise ReusableActionProblem("RA010", action, text)
    return replace(action, image=image.name, image_version=image.version, argv=argv)


def _report(url: str) -> str:
    return f"Please report it at `{url}/issues`."
