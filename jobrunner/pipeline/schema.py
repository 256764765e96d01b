"""`project.yaml` as a JSON Schema (draft 2020-12), for editors: completion, descriptions, quick marks.

Every file that `load` accepts fits the schema. The reverse does not hold: what compares one part of the file
with another (ids in `needs`, equal outputs, circles, targets of commands) only a check can tell.
"""

import re
from typing import Any

from jobrunner.pipeline.model import LEVELS, RUNTIMES
from jobrunner.pipeline.rules_actions import ID, MAX_ID
from jobrunner.pipeline.rules_outputs import MAX_PATTERN_BYTES, REVIEWABLE

_LEVEL_TEXTS = {
    "highly_sensitive": "Data about single people, and all else that may never leave. Never shown.",
    "moderately_sensitive": "Summaries that a person may review before anything is released. "
    f"Types: {', '.join(sorted(REVIEWABLE))}.",
    "minimally_sensitive": "Files without anything about people. Released only after a person's review.",
}

#: First word of a command: image and version, or anything with a quote or backslash in it.
_FIRST_WORD = r"^[ \t\r\n]*([^ \t\r\n:'\"\\]+:(v[0-9.]+(-pre)?|dev|latest)([ \t\r\n]|$)|[^ \t\r\n]*['\"\\])"
_LATEST = r"^[ \t\r\n]*[A-Za-z0-9._-]+:latest([ \t\r\n]|$)"

#: What no path of an output may hold or begin with.
_PLAIN_PATH = (
    r"^(?!/|[A-Za-z]:/|[Mm][Ee][Tt][Aa][Dd][Aa][Tt][Aa]/)(?!(.*/)?\.{0,2}(/|$))[^\\?\[\x00-\x1f\x7f]*$"
)
_NO_TWO_STARS = r"^(?!.*\*\*)"
_EXTENSION = r"[^/]\.[^/.]*[^/.*]$"

_VERSION_TEXT = r"^ *[0-9]+(\.[0-9]*)? *$"
_VERSION_3 = {"anyOf": [{"const": 3}, {"type": "string", "pattern": r"^ *0*3(\.0*)? *$"}]}
_VERSION_4_UP = {
    "anyOf": [{"type": "number", "minimum": 4}, {"type": "string", "pattern": r"^ *0*[45](\.[0-9]*)? *$"}]
}
_VERSION_5 = {"anyOf": [{"const": 5}, {"type": "string", "pattern": r"^ *0*5(\.0*)? *$"}]}


def json_schema() -> dict[str, Any]:
    """The schema as plain data, with its keys in reading order."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "project.yaml",
        "description": "The steps of a study: what each runs, what it needs, and which files it makes.",
        "type": "object",
        "required": ["version", "actions"],
        "additionalProperties": False,
        "properties": {
            "version": {
                "description": "Version of this format. Write '5.0'; files of versions 1 to 4 still work.",
                "anyOf": [
                    {"type": "number", "minimum": 1, "maximum": 5},
                    {"type": "string", "pattern": _VERSION_TEXT},
                ],
                "default": "5.0",
            },
            "actions": {
                "description": "The steps, by id. Each runs when what it needs has succeeded.",
                "type": "object",
                "propertyNames": {
                    "type": "string",
                    "pattern": f"^{ID}$",
                    "not": {"pattern": r"\.\."},
                    "maxLength": MAX_ID,
                },
                "additionalProperties": {"$ref": "#/$defs/action"},
            },
            "expectations": {"description": "Only for version 3, which wants `population_size` here."},
        },
        "allOf": [
            _when(_VERSION_3, {"required": ["expectations"], "properties": {"expectations": _EXPECTATIONS}}),
            _when(_VERSION_4_UP, {"properties": {"expectations": {"type": "null"}}}),
            _when(
                _VERSION_5,
                {
                    "properties": {
                        "actions": {
                            "propertyNames": {"not": {"const": "run_all"}},
                            "additionalProperties": {
                                "properties": {"run": {"not": {"type": "string", "pattern": _LATEST}}}
                            },
                        }
                    }
                },
            ),
        ],
        "$defs": {"action": _action(), **{level: _level(level) for level in LEVELS}},
    }


_EXPECTATIONS: dict[str, Any] = {
    "type": "object",
    "required": ["population_size"],
    "additionalProperties": False,
    "properties": {
        "population_size": {
            "description": "How many people dummy data has.",
            "anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": "^ *[0-9]+ *$"}],
        }
    },
}


def _when(version: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"version": version}, "required": ["version"]}, "then": then}


def _action() -> dict[str, Any]:
    runtimes = ", ".join(sorted(RUNTIMES))
    return {
        "description": "One step: a command in an image, and the files that are kept of what it makes.",
        "type": "object",
        "required": ["run", "outputs"],
        "additionalProperties": False,
        "properties": {
            "run": {
                "description": "`image:version` and its arguments, such as `python:v2 analysis/model.py`. "
                f"Images: {runtimes}; any other name is a reusable action. No shell: nothing is expanded.",
                "type": "string",
                "pattern": _FIRST_WORD,
            },
            "needs": {
                "description": "Ids of the actions whose outputs this one reads. They run first.",
                "type": ["array", "null"],
                "items": {"type": "string", "pattern": "^[^ ]+$"},
            },
            "outputs": {
                "description": "The files to keep: level, then a name of your choice, then the path. "
                "`*` stands for anything within one folder or file name.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {level: {"$ref": f"#/$defs/{level}"} for level in LEVELS},
            },
            "config": {
                "description": "Settings that the command is given as JSON after `--config`.",
                "type": ["object", "null"],
            },
            "dummy_data_file": {
                "description": "Older files have it; it has no effect.",
                "type": ["string", "null"],
                "deprecated": True,
            },
        },
    }


def _level(level: str) -> dict[str, Any]:
    types = "|".join(re.escape(kind.removeprefix(".")) for kind in sorted(REVIEWABLE))
    extension = rf"[^/]\.({types})$" if level == "moderately_sensitive" else _EXTENSION
    return {
        "description": _LEVEL_TEXTS[level],
        "type": ["object", "null"],
        "additionalProperties": {
            "description": "A path in the repository, such as `output/table.csv` or `output/table_*.csv`.",
            "type": "string",
            "maxLength": MAX_PATTERN_BYTES,
            "allOf": [{"pattern": _PLAIN_PATH}, {"pattern": _NO_TWO_STARS}, {"pattern": extension}],
        },
    }
