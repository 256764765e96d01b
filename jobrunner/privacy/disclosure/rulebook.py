"""The rulebook of a data controller, as data: disclosure-rules.md section 2. Unknown keys are refused."""

import datetime
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobrunner.privacy.disclosure.findings import SEVERITIES

Value = int | float | str | tuple[str, ...]

# Every key of a rulebook with the type of its value; a table in it is a mapping here.
_WORDS = [
    "percent",
    "rate",
    "stat",
    "model",
    "quantile",
    "count",
    "date",
    "age",
    "sex",
    "ethnicity",
    "area",
    "identifier",
    "health_number",
    "digest",
    "term",
    "tree",
]
_SHAPE: Mapping[str, Any] = {
    "schema": int,
    "id": str,
    "version": str,
    "extends": str,
    "effective_from": datetime.date,
    "coverage": ("full", "sample"),
    "counts": {
        "redact_at_or_below": int,
        "rounding": ("nearest", "midpoint", "none"),
        "base": int,
        "midpoint": {"accept": bool, "base": int, "suffix": str, "derived_suffix": str},
        "protect_width": int,
        "zero": SEVERITIES,
        "hundred_percent": SEVERITIES,
        "suppressed_tokens": list,
        "total_words": list,
    },
    "stats": {"min_dof": int, "nk": {"n": int, "k": float}, "p_percent": float, "extremes": SEVERITIES},
    "files": {
        "types": list,
        "at_collection": list,
        "limits": {"bytes": int, "rows": int, "columns": int, "cells": int, "tables_per_file": int},
    },
    "identity": {
        "id_columns": list,
        "geography": {"allow": list, "deny_names": list, "deny_codes": list, "deny_lists": list},
    },
    "differencing": {
        "scope": ("workspace", "project", "dataset"),
        "min_key_overlap": float,
        "max_versions": int,
    },
    "review": {"quorum": int, "owner_review": bool, "membership_cooloff_days": int},
    "words": dict.fromkeys(_WORDS, list),
    "rules": dict,
}
_EXCEPTIONS = ("never", "lead", "controller")
_RULE_KEYS = frozenset({"enabled", "severity", "exception", "params"})


class RulebookError(Exception):
    """A rulebook that is refused; the text names the key and says what to do."""


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """The settings of one rule. `params`: its numbers and word lists."""

    enabled: bool
    severity: str
    exception: str
    params: Mapping[str, Value]

    def number(self, name: str) -> float:
        """A number of `params`. Raises RulebookError when it is missing or no number."""
        value = self.params.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RulebookError(f"params.{name} must be a number")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """A list of `params`. Raises RulebookError when it is missing or no list."""
        value = self.params.get(name)
        if not isinstance(value, tuple):
            raise RulebookError(f"params.{name} must be a list")
        return value


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes over which a file is not reviewed (SDC031)."""

    bytes: int
    rows: int
    columns: int
    cells: int
    tables_per_file: int


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A checked rulebook. `data` is the whole of it; the other fields are what the rules read often."""

    id: str
    version: str
    sha256: str
    types: frozenset[str]
    at_collection: tuple[str, ...]
    limits: Limits
    id_columns: tuple[str, ...]
    words: Mapping[str, frozenset[str]]
    rules: Mapping[str, RuleSettings]
    data: Mapping[str, Any]

    @property
    def quoted(self) -> dict[str, str]:
        """How every report, vote and release quotes it."""
        return {"id": self.id, "version": self.version, "sha256": self.sha256}


def default_rulebook() -> bytes:
    """The bytes of the rulebook that comes with the program."""
    return Path(__file__).with_name("default.toml").read_bytes()


@lru_cache(maxsize=4)
def load(content: bytes) -> Rulebook:
    """The rulebook in TOML `content`, read once for the same bytes. Raises RulebookError."""
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RulebookError("the rulebook is not valid TOML in UTF-8") from error
    _require_shape(data, _SHAPE, "")
    if data["schema"] != 1:
        raise RulebookError("schema must be 1")
    if data["extends"]:
        raise RulebookError("extends must be empty: state every key in this rulebook")
    if data["review"]["quorum"] < 2:
        raise RulebookError("review.quorum must be 2 or more")
    _require_coherent(data["counts"])
    rules = {name: _rule(name, settings) for name, settings in data["rules"].items()}
    at_collection = tuple(data["files"]["at_collection"])
    missing = [name for name in at_collection if name not in rules]
    if missing:
        raise RulebookError(f"rules.{missing[0]} is missing: files.at_collection names it")
    if "SDC099" not in at_collection or not rules["SDC099"].enabled or rules["SDC099"].severity != "block":
        raise RulebookError("rules.SDC099 must be enabled, block, and stand in files.at_collection")
    return Rulebook(
        id=data["id"],
        version=data["version"],
        sha256=hashlib.sha256(content).hexdigest(),
        types=frozenset(data["files"]["types"]),
        at_collection=at_collection,
        limits=Limits(**data["files"]["limits"]),
        id_columns=tuple(data["identity"]["id_columns"]),
        words=MappingProxyType({name: frozenset(words) for name, words in data["words"].items()}),
        rules=MappingProxyType(rules),
        data=MappingProxyType(data),
    )


def _require_shape(found: Mapping[str, Any], shape: Mapping[str, Any], place: str) -> None:
    for key in found:
        if key not in shape:
            raise RulebookError(f"{place}{key} is not a key of a rulebook; check its spelling")
    for key, wanted in shape.items():
        name = f"{place}{key}"
        if key not in found:
            raise RulebookError(f"{name} is missing")
        value = found[key]
        if isinstance(wanted, Mapping):
            if not isinstance(value, dict):
                raise RulebookError(f"{name} must be a table")
            _require_shape(value, wanted, f"{name}.")
        elif isinstance(wanted, tuple):
            if value not in wanted:
                raise RulebookError(f"{name} must be one of {', '.join(wanted)}")
        elif wanted is list:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise RulebookError(f"{name} must be a list of texts")
        elif type(value) is not wanted:
            raise RulebookError(f"{name} must be of type {wanted.__name__}")
        elif wanted in (int, float) and value < 0:
            raise RulebookError(f"{name} must not be negative")


def _require_coherent(counts: Mapping[str, Any]) -> None:
    """The first legal value must stand for a full bin, or it tells more than the threshold allows."""
    first, base = counts["redact_at_or_below"] + 1, counts["base"]
    if counts["rounding"] == "nearest" and (base < 1 or (first + base // 2) % base):
        raise RulebookError("counts.base does not fit counts.redact_at_or_below: 7 goes with 5, for example")


def _rule(name: str, settings: Any) -> RuleSettings:
    if not isinstance(settings, dict) or not _RULE_KEYS.issuperset(settings):
        raise RulebookError(f"rules.{name} may have only {', '.join(sorted(_RULE_KEYS))}")
    enabled = settings.get("enabled", True)
    severity = settings.get("severity", "block")
    exception = settings.get("exception", "never")
    params = settings.get("params", {})
    if not isinstance(enabled, bool) or severity not in SEVERITIES or exception not in _EXCEPTIONS:
        raise RulebookError(f"rules.{name} has a wrong value for enabled, severity or exception")
    if not isinstance(params, dict):
        raise RulebookError(f"rules.{name}.params must be a table")
    frozen: dict[str, Value] = {}
    for key, value in params.items():
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            frozen[key] = tuple(value)
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            frozen[key] = value
        else:
            raise RulebookError(f"rules.{name}.params.{key} must be a number, a text or a list of texts")
    return RuleSettings(enabled, severity, exception, MappingProxyType(frozen))
