"""What each setting of the policy file may be, in words, and how a setting that is wrong is told.

`SETTINGS` has one entry for each setting and section that `policy.Policy` reads, by its place in the file;
`*` stands for a name that the site chooses, such as that of an image.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobrunner.pipeline.suggestions import Suggestions

_LONGEST_SHOWN: Final = 60
# An image id has 71 signs.
_LONGEST_NAME: Final = 100
_LARGEST_SHOWN: Final = 10**20
_ANY_NAME: Final = "*"

_ID: Final = "sha256:" + "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True)
class Setting:
    """What it must be, after the words "it must be", and a line of TOML that is allowed."""

    must_be: str
    example: str


def _section(name: str) -> Setting:
    return Setting("a section of its own", f"[{name}]")


def _path(name: str, what: str, example: str) -> Setting:
    return Setting(f"the path of {what} in quotes", f'{name} = "{example}"')


def _folder(name: str) -> Setting:
    return _path(name, "a folder", f"/var/lib/jobrunner/{name}")


SETTINGS: Final[Mapping[tuple[str, ...], Setting]] = {
    ("mode",): Setting('"production", "dev" or "test"', 'mode = "production"'),
    ("backend",): Setting("a slug of 1 to 40 of a-z, 0-9 and `-`", 'backend = "north"'),
    ("projects",): Setting("a list of slugs of 1 to 40 of a-z, 0-9 and `-`", 'projects = ["flchain"]'),
    ("time_grain_s",): Setting("a whole number of seconds from 1 to 3600", "time_grain_s = 60"),
    ("controller",): _section("controller"),
    ("controller", "url"): Setting("an address in quotes", 'url = "https://jobs.example.org"'),
    ("controller", "credential_file"): _path("credential_file", "a file", "credential"),
    ("controller", "ca_file"): _path("ca_file", "a file", "controller-ca.pem"),
    ("keys",): _section("keys"),
    ("keys", "agent_key_file"): _path("agent_key_file", "a file", "agent_key.pem"),
    ("folders",): _section("folders"),
    ("folders", "high"): _folder("high"),
    ("folders", "medium"): _folder("medium"),
    ("folders", "state"): _folder("state"),
    ("folders", "cache"): _folder("cache"),
    ("approvals",): _section("approvals"),
    ("approvals", "allowed_signers"): _path("allowed_signers", "a file", "allowed_signers"),
    ("approvals", "revoked"): _path("revoked", "a file", "revoked_keys"),
    ("approvals", "threshold"): Setting("a whole number from 1 to 8", "threshold = 1"),
    ("approvals", "database_threshold"): Setting("a whole number from 1 to 8", "database_threshold = 2"),
    ("git",): _section("git"),
    ("git", "allowed"): Setting(
        "a list of 1 to 64 addresses in quotes", 'allowed = ["https://github.com/ORGANISATION"]'
    ),
    ("git", "private_addresses"): Setting(
        "a list of IP addresses or networks in quotes", 'private_addresses = ["10.1.2.3"]'
    ),
    ("git", "token_files"): Setting(
        "a table of hosts and files", 'token_files = { "github.com" = "github_token" }'
    ),
    ("git", "token_files", _ANY_NAME): _path('"github.com"', "a file", "github_token"),
    ("reusable_actions",): _section("reusable_actions"),
    ("reusable_actions", "prefix"): Setting(
        "an address in quotes", 'prefix = "https://github.com/ORGANISATION"'
    ),
    ("hook",): _section("hook"),
    ("hook", "program"): _path("program", "a program", "site-hook"),
    ("hook", "deadline_s"): Setting("a whole number of seconds from 1 to 300", "deadline_s = 10"),
    ("host",): _section("host"),
    ("host", "cores"): Setting("a number from 0.01 to 65536", "cores = 16.0"),
    ("host", "memory_mib"): Setting("a whole number of MiB, 16 or more", "memory_mib = 65536"),
    ("host", "least_free_percent"): Setting(
        "a whole number of percent from 1 to 90", "least_free_percent = 10"
    ),
    ("sandbox",): _section("sandbox"),
    ("sandbox", "runtime"): Setting('"runc" or "runsc"', 'runtime = "runc"'),
    ("limits",): _section("limits"),
    ("limits", "slots"): Setting("a whole number from 1 to 64", "slots = 4"),
    ("limits", "pids"): Setting("a whole number from 1 to 65536", "pids = 512"),
    ("limits", "memory_mib"): Setting("a whole number of MiB, 16 or more", "memory_mib = 8192"),
    ("limits", "cores"): Setting("a number from 0.01 to 1024", "cores = 2.0"),
    ("limits", "disk_mib"): Setting("a whole number of MiB, 16 or more", "disk_mib = 20480"),
    ("limits", "inodes"): Setting("a whole number, 1000 or more", "inodes = 1000000"),
    ("limits", "wall_clock_s"): Setting(
        "a whole number of seconds from 1 to 2592000 (30 days)", "wall_clock_s = 86400"
    ),
    ("limits", "stop_s"): Setting("a whole number of seconds from 1 to 300", "stop_s = 10"),
    ("images",): _section("images"),
    ("images", _ANY_NAME): _section('images."python:v2"'),
    ("images", _ANY_NAME, "id"): Setting(
        "the image's id, `sha256:` and 64 of 0-9 and a-f, as `docker images --no-trunc` shows it",
        f'id = "{_ID}"',
    ),
    ("images", _ANY_NAME, "entrypoint"): Setting(
        "a list of 1 to 16 words in quotes", 'entrypoint = ["/usr/local/bin/run-action", "python3"]'
    ),
    ("images", _ANY_NAME, "environment"): Setting(
        "a table of variables and texts", 'environment = { LANG = "C.UTF-8" }'
    ),
    ("images", _ANY_NAME, "environment", _ANY_NAME): Setting(
        "a name without `=`, and a text in quotes", 'LANG = "C.UTF-8"'
    ),
    ("database",): _section("database"),
    ("database", "dataset"): Setting("a slug of 1 to 40 of a-z, 0-9 and `-`", 'dataset = "cohort"'),
    ("database", "kind"): Setting('"sqlite" or "duckdb"', 'kind = "sqlite"'),
    ("database", "file"): _path("file", "a file", "/var/lib/jobrunner/database/cohort.sqlite"),
    ("database", "public"): Setting("true or false", "public = false"),
    ("database", "slots"): Setting("a whole number from 1 to 64", "slots = 1"),
    ("database", "images"): Setting(
        "a section of its own with an image id or more",
        f'[database.images]\n"{_ID}" = "any"',
    ),
    ("database", "images", _ANY_NAME): Setting(
        'the word "any", or a list of 1 to 64 first arguments in quotes', f'"{_ID}" = "any"'
    ),
}


def problems(errors: Sequence[Any], values: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting that is wrong, without its full stop.

    `errors` are those of pydantic for these `values` of the file, each with `type` and `loc`.
    """
    sentences: dict[str, str] = {}
    for error in errors:
        place, pattern = _place(error["loc"])
        name = place_text(place)
        if error["type"] == "extra_forbidden":
            sentences[name] = f"{name}: {_unknown(place, pattern)}"
            continue
        setting = SETTINGS[pattern]
        wish = f"it must be {setting.must_be}, such as {_quoted(setting.example)}"
        if error["type"] == "missing":
            sentences[name] = f"{name}: it is missing; {wish}"
        else:
            sentences.setdefault(name, f"{name}: {_shown(_value(values, place))} is not allowed; {wish}")
    return list(sentences.values())


def place_text(place: Sequence[str | int]) -> str:
    """The place of a setting as people write it; a name with signs that do not print is quoted."""
    return ".".join(name_text(str(part)) for part in place)


def name_text(name: str) -> str:
    """A name that the site chose, on one line and not too long."""
    shown = name if name.isprintable() else json.dumps(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}..."


def _place(loc: Sequence[str | int]) -> tuple[tuple[str | int, ...], tuple[str, ...]]:
    """The place of an error without what pydantic adds of its own, and the entry of SETTINGS for it."""
    pattern: tuple[str, ...] = ()
    for count, part in enumerate(loc):
        named = (*pattern, str(part))
        chosen = (*pattern, _ANY_NAME)
        if chosen in SETTINGS:
            pattern = chosen
        elif named in SETTINGS:
            pattern = named
        else:
            # One element of a list, or a setting that does not exist, is named; a kind of value is not.
            known = isinstance(part, int) or _has_settings(pattern)
            return tuple(loc[: count + 1] if known else loc[:count]), pattern
    return tuple(loc), pattern


def _has_settings(section: tuple[str, ...]) -> bool:
    return any(len(place) == len(section) + 1 and place[: len(section)] == section for place in SETTINGS)


def _unknown(place: tuple[str | int, ...], section: tuple[str, ...]) -> str:
    names = [key[-1] for key in SETTINGS if len(key) == len(section) + 1 and key[: len(section)] == section]
    near = Suggestions(names).closest(str(place[-1]))
    if near:
        return f"there is no such setting; perhaps `{near}` is meant"
    return f"there is no such setting here; there are {', '.join(names)}"


def _value(values: Mapping[str, Any], place: Sequence[str | int]) -> Any:
    value: Any = values
    for part in place:
        value = value[part]
    return value


def _shown(value: Any) -> str:
    """A value of TOML in a few words."""
    if isinstance(value, str):
        text = json.dumps(value)
        return text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}..."'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= _LARGEST_SHOWN:
        return "so large a number"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, Mapping):
        return "a table" if value else "an empty table"
    return "a date or time"


def _quoted(example: str) -> str:
    """The example, which may take two lines of the file."""
    return " and below it ".join(f"`{line}`" for line in example.split("\n"))
