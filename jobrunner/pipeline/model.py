"""The values that a pipeline file becomes. All are immutable; nothing here reads or checks anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: Sensitivity levels, most to least sensitive (project-yaml.md, terms).
LEVELS: tuple[str, ...] = ("highly_sensitive", "moderately_sensitive", "minimally_sensitive")

#: Names that may be started as they are; any other name is a reusable action (project-yaml.md 6.4).
RUNTIMES: frozenset[str] = frozenset({"python", "r", "stata-mp", "jupyter", "ehrql", "sqlrunner"})

#: Names that older files hold and that can no longer be started (project-yaml.md 6.4, RQ014).
RETIRED_RUNTIMES: frozenset[str] = frozenset({"cohortextractor", "databuilder"})

#: Image name -> first words that make a database action of it; None: any word or none (project-yaml.md 6.5).
DATABASE_WORDS: Mapping[str, frozenset[str] | None] = {
    "ehrql": frozenset({"generate-dataset", "generate-measures"}),
    "sqlrunner": None,
    "cohortextractor": frozenset({"generate_cohort", "generate_codelist_report"}),
    "databuilder": frozenset({"generate-dataset"}),
}

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the text. `line` and `column` count from 1, in Unicode characters.

    `beside` is the line of the other place that the message is about, if there is one; it is shown to people
    and no part of `check --json`.
    """

    id: str
    severity: Severity
    line: int
    column: int
    action: str | None
    message: str
    beside: int | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One step of the file, as written. `argv` holds the words after the first word of `run`."""

    id: str
    image: str
    image_version: str
    argv: tuple[str, ...]
    needs: tuple[str, ...]
    outputs: Mapping[str, Mapping[str, str]]
    config: Mapping[str, Any] | None
    is_database_action: bool

    def command(self) -> tuple[str, ...]:
        """All words that the job is started with (project-yaml.md 6.1 and 6.2)."""
        return (*self.argv, *config_words(self.config))

    def patterns(self) -> tuple[tuple[str, str], ...]:
        """Every output as (pattern, level), in file order."""
        return tuple((pattern, level) for level, named in self.outputs.items() for pattern in named.values())


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A file without errors. `version` is the shortest decimal with a digit after the point ("5.0")."""

    version: str
    population_size: int | None
    actions: Mapping[str, Action]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one check found: `problems` sorted by line, column, id, message; `pipeline` only without errors.

    `version` is known as soon as the file says a usable one, errors elsewhere or not.
    """

    pipeline: Pipeline | None
    problems: tuple[Problem, ...]
    version: str | None = None

    @property
    def valid(self) -> bool:
        """True if no problem has severity "error"; warnings do not count."""
        return self.pipeline is not None


def config_words(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """`--config` and its JSON on one line, or nothing for a config that is absent or has no keys."""
    if not config:
        return ()
    text = json.dumps(config, ensure_ascii=True, allow_nan=False)
    return ("--config", text.replace("'", "\\u0027"))


def is_database_action(image: str, argv: tuple[str, ...]) -> bool:
    """Whether image name and first argument, compared as they are, make a database action."""
    if image not in DATABASE_WORDS:
        return False
    words = DATABASE_WORDS[image]
    return words is None or (bool(argv) and argv[0] in words)
