"""One column of a schema file: its type and the settings that fit it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from jobrunner.dummy_data.checking import Reporter
from jobrunner.dummy_data.schema import (
    FIRST_SECOND,
    LARGEST_FLOAT,
    LARGEST_INT,
    MOST_DAYS,
    MOST_DECIMALS,
    MOST_LETTERS,
    SMALLEST_INT,
    TYPES,
    Column,
    Type,
)
from jobrunner.pipeline.nodes import BOOLEAN, FLOAT, INTEGER, LIST, MAPPING, TEXT, Node
from jobrunner.pipeline.wording import listing, quote

#: Settings beside `type` and `missing`, by type.
SETTINGS: Final[Mapping[Type, tuple[str, ...]]] = {
    "int": ("min", "max", "unique", "refers_to"),
    "float": ("min", "max", "decimals"),
    "bool": ("share",),
    "str": ("length", "prefix", "unique", "refers_to"),
    "category": ("values",),
    "date": ("min", "max", "after", "days"),
    "datetime": ("min", "max", "after", "days"),
    "other": (),
}
_EVERY: Final = ("type", "missing")
_FIRST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(2024, 12, 31)


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """A column whose references are still names. `nodes` are its settings, for the places of problems."""

    name: str
    key: Node
    column: Column
    refers_to: str | None
    nodes: Mapping[str, Node]


class _Settings:
    """The settings of one column, with what is wrong with them."""

    def __init__(self, what: str, nodes: Mapping[str, Node], report: Reporter) -> None:
        self.what = what
        self.nodes = nodes
        self._report = report

    def wrong(self, name: str, must: str, word: str = "bad_value") -> None:
        """Say that a setting is not what it must be."""
        node = self.nodes[name]
        self._report.at(node, word, f"`{name}` of {self.what} is {node.describe()}. Write {must}.")

    def clash(self, name: str, message: str) -> None:
        """Say that a setting does not go with another one."""
        self._report.at(self.nodes[name], "bad_key", f"`{name}` of {self.what} {message}")

    def number(self, name: str, low: float, high: float, default: Any, *, whole: bool = False) -> Any:
        """A number in a range, or the default."""
        node = self.nodes.get(name)
        if node is None:
            return default
        fits = node.kind is INTEGER or (node.kind is FLOAT and not whole and math.isfinite(node.value))
        if fits and low <= node.value <= high:
            return node.value
        kind = "a whole number" if whole else "a number"
        self.wrong(name, f"{kind} from {low} to {high}")
        return default

    def flag(self, name: str) -> bool:
        """True or false; false where it is not set."""
        node = self.nodes.get(name)
        if node is None:
            return False
        if node.kind is not BOOLEAN:
            self.wrong(name, "`true` or `false`")
            return False
        return bool(node.value)

    def text(self, name: str, must: str) -> str | None:
        """A text that is not empty, or None."""
        node = self.nodes.get(name)
        if node is None:
            return None
        if node.kind is not TEXT or not node.text or not node.text.isprintable():
            self.wrong(name, must)
            return None
        return node.text

    def point(self, name: str, read: Callable[[str], int], default: int, must: str) -> int:
        """A date or time as a number, or the default."""
        node = self.nodes.get(name)
        if node is None:
            return default
        try:
            if node.kind is TEXT and node.text.isascii():
                return read(node.text)
        except (ValueError, OverflowError):
            pass
        self.wrong(name, must)
        return default

    def in_order(self, low: int, high: int, mend: str) -> bool:
        """Report a range without values. The place is that of `max` if it stands there, else of `min`."""
        if low <= high:
            return True
        name = "max" if "max" in self.nodes else "min"
        self._report.at(self.nodes[name], "bad_range", f"No value of {self.what} {mend}")
        return False


def read_column(table: str, key: Node, value: Node, report: Reporter) -> DraftColumn:
    """Read `NAME: TYPE` or `NAME: {type: TYPE, ...}`; what is wrong gets the default."""
    name = key.text
    what = f"{report.name(key, 'column')} of table {quote(table)}"
    nodes: dict[str, Node] = {}
    if value.kind is MAPPING:
        nodes = {entry: node for entry, (_, node) in value.entries.items()}
        type_node = report.needed(value, "type", what, f"Add one of {listing(TYPES, len(TYPES))}.", at=key)
    else:
        type_node = value
    kind = None if type_node is None else _type(type_node, what, report)
    if kind is None:
        return DraftColumn(name, key, Column(name=name, type="other"), None, {})
    if value.kind is MAPPING:
        _check_settings(kind, value, what, report)
    settings = _Settings(what, {entry: nodes[entry] for entry in nodes if entry in SETTINGS[kind]}, report)
    missing = _Settings(what, nodes, report).number("missing", 0, 1, 0)
    made: dict[str, Any] = {"name": name, "type": kind, "missing": float(missing), **_READERS[kind](settings)}
    if kind == "category" and value is type_node:
        report.at(value, "missing_key", f"{what} is a category without `values`. {_VALUES}")
    elif kind == "category" and "values" not in nodes:
        report.at(key, "missing_key", f"`values` is missing from {what}. {_VALUES}")
    if made.get("unique") and missing:
        report.at(nodes["missing"], "bad_key", f"`missing` of {what} does not go with `unique`. Remove one.")
    refers_to = settings.text("refers_to", "`TABLE.COLUMN`")
    return DraftColumn(name, key, Column(**made), refers_to, settings.nodes)


def _type(node: Node, what: str, report: Reporter) -> Type | None:
    for kind in TYPES:
        if node.kind is TEXT and node.text == kind:
            return kind
    hint = report.hint(node.text, TYPES) if node.kind is TEXT else ""
    hint = hint or f" Types are {listing(TYPES, len(TYPES))}."
    report.at(node, "unknown_type", f"The type of {what} is {node.describe()}.{hint}")
    return None


def _check_settings(kind: Type, value: Node, what: str, report: Reporter) -> None:
    """Tell apart what no column has and what only other types have."""
    allowed = (*_EVERY, *SETTINGS[kind])
    others = {name for names in SETTINGS.values() for name in names}
    for key, _ in value.entries.values():
        if key.text in allowed:
            continue
        if key.text in others:
            report.at(
                key,
                "unused_key",
                f"`{key.text}` of {what} means nothing for the type `{kind}`. Remove it, or change the type.",
            )
            continue
        hint = report.hint(key.text, allowed) or f" Allowed are {listing(allowed, len(allowed))}."
        report.at(key, "unknown_key", f"{what} has the unknown key {quote(key.text)}.{hint}")


def _int(settings: _Settings) -> dict[str, Any]:
    unique = settings.flag("unique")
    low = settings.number("min", SMALLEST_INT, LARGEST_INT, 1 if unique else 0, whole=True)
    high = settings.number(
        "max", SMALLEST_INT, LARGEST_INT, LARGEST_INT if unique else max(low, 100), whole=True
    )
    settings.in_order(low, high, f"lies from `min` {low} to `max` {high}. Swap or change them.")
    return {"low": low, "high": high, "unique": unique}


def _float(settings: _Settings) -> dict[str, Any]:
    decimals = settings.number("decimals", 0, MOST_DECIMALS, 3, whole=True)
    low = settings.number("min", -LARGEST_FLOAT, LARGEST_FLOAT, 0)
    high = settings.number("max", -LARGEST_FLOAT, LARGEST_FLOAT, max(low, 100))
    first = int(Decimal(repr(low)).scaleb(decimals).to_integral_value(ROUND_CEILING))
    last = int(Decimal(repr(high)).scaleb(decimals).to_integral_value(ROUND_FLOOR))
    mend = f"with {decimals} decimals lies from `min` {low} to `max` {high}. Change one of the three."
    settings.in_order(first, last, mend)
    return {"decimals": decimals, "low": first, "high": last}


def _bool(settings: _Settings) -> dict[str, Any]:
    return {"share": float(settings.number("share", 0, 1, 0.5))}


_PREFIX: Final = "a text that is not empty, in quotes if it looks like a number"


def _str(settings: _Settings) -> dict[str, Any]:
    return {
        "unique": settings.flag("unique"),
        "length": settings.number("length", 1, MOST_LETTERS, 8, whole=True),
        "prefix": settings.text("prefix", _PREFIX) or "",
    }


_VALUES: Final = "Write `values: [a, b]`, or `values: {a: 3, b: 1}` with weights."


def _category(settings: _Settings) -> dict[str, Any]:
    node = settings.nodes.get("values")
    if node is None:
        return {}
    if node.kind is LIST and node.nodes and all(part.kind in (TEXT, INTEGER, FLOAT) for part in node.nodes):
        texts = tuple(part.text for part in node.nodes)
        if len(set(texts)) == len(texts) and all(texts):
            return {"values": texts, "weights": (1.0,) * len(texts)}
        settings.wrong("values", "each value once, and none that is empty: `missing` is for those")
        return {}
    if node.kind is MAPPING and node.entries and not node.left_out:
        weights = {name: weight for name, (_, weight) in node.entries.items()}
        good = all(
            weight.kind in (INTEGER, FLOAT) and 0 <= weight.value <= LARGEST_FLOAT
            for weight in weights.values()
        )
        if good and all(weights) and any(weight.value > 0 for weight in weights.values()):
            return {
                "values": tuple(weights),
                "weights": tuple(float(weight.value) for weight in weights.values()),
            }
        settings.wrong("values", "a weight of 0 or more for each value, one of them above 0")
        return {}
    settings.wrong("values", _VALUES.removeprefix("Write ").removesuffix("."))
    return {}


def _date(settings: _Settings) -> dict[str, Any]:
    return _times(settings, _day, 1, "a date such as 2024-12-31")


def _datetime(settings: _Settings) -> dict[str, Any]:
    return _times(settings, _second, 86_400, "a date or time such as 2024-12-31T23:59:59")


def _times(settings: _Settings, read: Callable[[str], int], a_day: int, must: str) -> dict[str, Any]:
    first = (_FIRST_DAY.toordinal() - 1) * a_day
    last = _LAST_DAY.toordinal() * a_day - 1
    low = settings.point("min", read, first, must)
    high = settings.point("max", read, max(low, last), must)
    settings.in_order(low, high, "lies from `min` to `max`. Swap or change them.")
    after = settings.text("after", "the name of a column above this one")
    if after is None and "days" in settings.nodes and "after" not in settings.nodes:
        settings.clash("days", "counts from the column in `after`. Add `after`, or remove it.")
    for name in ("min", "max"):
        if "after" in settings.nodes and name in settings.nodes:
            settings.clash(name, "does not go with `after`. Remove one.")
    days = settings.number("days", 0, MOST_DAYS, 365, whole=True)
    return {"low": low, "high": high, "after": after, "days": days}


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - 1


def _second(text: str) -> int:
    given = datetime.fromisoformat(text)
    if given.tzinfo is not None or given.microsecond:
        raise ValueError("a whole second, without a time zone")
    return (given - FIRST_SECOND) // timedelta(seconds=1)


def _other(_settings: _Settings) -> dict[str, Any]:
    return {}


_READERS: Final[Mapping[Type, Callable[[_Settings], dict[str, Any]]]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "str": _str,
    "category": _category,
    "date": _date,
    "datetime": _datetime,
    "other": _other,
}
