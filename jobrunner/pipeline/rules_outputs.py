"""The `outputs` of an action (project-yaml.md 4.3, PY040 to PY051; PS040 to PS044)."""

import re
from dataclasses import dataclass

from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.model import LEVELS
from jobrunner.pipeline.nodes import MAPPING, NULL, TEXT, Node
from jobrunner.pipeline.patterns import PatternSet
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import character, listing, quote

MAX_PATTERN_BYTES = 1_000

#: Types that a person can review (PY047).
REVIEWABLE = frozenset(
    {".csv", ".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html", ".txt", ".log", ".json", ".md"}
)  # fmt: skip

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_DRIVE = re.compile("[A-Za-z]:/")
#: What a shell would take for a wildcard, and is none here; a bracket with all that is in it.
_OTHER_WILDCARD = re.compile(r"\*{2,}|\?+|\[[^\]/]*\]?")
_STARS = re.compile(r"\*{2,}")

#: PS042 is a warning; on a file made to be slow it stops comparing here.
_MOST_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Output:
    """One pattern that is a string, and where it stands."""

    level: str
    name: str
    node: Node

    @property
    def pattern(self) -> str:
        return self.node.text


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one action. `whole` is false if a level or a pattern had the wrong shape."""

    key: Node
    levels: tuple[str, ...]
    listed: tuple[Output, ...]
    whole: bool


class OutputRules:
    """Checks the outputs of one action after the other; remembers the patterns of the file."""

    def __init__(self, version: float | None, findings: Findings) -> None:
        self._version = version
        self._findings = findings
        #: Pattern -> (action, line) of its first place in the file.
        self._firsts: dict[str, tuple[str, int]] = {}
        self._faults: dict[tuple[bool, str], tuple[tuple[str, str], ...]] = {}
        self._level_names = Suggestions(LEVELS, findings.comparisons)
        self._steps = 0

    def check(self, action: str, key: Node, outputs: Node) -> Outputs:
        """Every rule about the mapping `outputs`, whose key is `key`."""
        levels: list[str] = []
        listed: list[Output] = []
        whole = True
        for level, (level_key, node) in outputs.entries.items():
            if level not in LEVELS:
                message = "Use `highly_sensitive`, `moderately_sensitive` or `minimally_sensitive`."
                start = f"Unknown level {quote(level)} in `outputs` of action {quote(action)}."
                message += self._level_names.hint(level)
                self._findings.error("PY041", level_key, action, f"{start} {message}")
                continue
            if node.kind is NULL:
                continue
            levels.append(level)
            if node.kind is not MAPPING:
                whole = False
                message = f"`{level}` of action {quote(action)} is {node.describe()}."
                message += " Give each path a name: `table: a.csv`."
                self._findings.error("PY042", node, action, message)
                continue
            for name, (_, value) in node.entries.items():
                if value.kind is TEXT:
                    listed.append(Output(level, name, value))
                else:
                    whole = False
                    message = f"Output {quote(name)} of action {quote(action)} is {value.describe()}."
                    message += " Give a path, such as `output/table.csv`."
                    self._findings.error("PY043", value, action, message)
        made = Outputs(key, tuple(levels), tuple(listed), whole)
        self._check_levels(action, outputs, made)
        for output in listed:
            self._check_pattern(action, output)
        self._check_overlaps(action, listed)
        return made

    def _check_levels(self, action: str, outputs: Node, made: Outputs) -> None:
        if not made.levels:
            message = (
                f"Action {quote(action)} names no outputs. Add at least one of the three levels, with a path."
            )
            self._findings.error("PY040", made.key, action, message)
            return
        given = [outputs.entries[level][1] for level in made.levels]
        if all(node.kind is MAPPING and not node.entries and not node.left_out for node in given):
            message = f"Action {quote(action)} keeps no file at all. Add a path."
            self._findings.warning("PS044", made.key, action, message)

    def _check_pattern(self, action: str, output: Output) -> None:
        pattern = output.pattern
        start = f"Output {quote(output.name)} of action {quote(action)}"
        reviewed = output.level == "moderately_sensitive"
        if (reviewed, pattern) not in self._faults:
            self._faults[reviewed, pattern] = pattern_faults(pattern, reviewed)
        for rule, message in self._faults[reviewed, pattern]:
            self._findings.error(rule, output.node, action, f"{start} {message}")
        if self._version is None or self._version < 2:
            return
        if pattern not in self._firsts:
            self._firsts[pattern] = (action, output.node.line)
            return
        other, line = self._firsts[pattern]
        message = (
            f"{quote(pattern)}, is already an output of {quote(other)} (line {line}). Give each its own path."
        )
        self._findings.error("PY051", output.node, action, f"{start}, {message}", beside=line)

    def _check_overlaps(self, action: str, listed: list[Output]) -> None:
        """PS042, at most once for each pattern."""
        if len({output.level for output in listed}) < 2:
            return
        short = [output for output in listed if not _too_long(output.pattern)]
        reported: set[int] = set()
        if self._version is not None and self._version < 2:
            self._check_equal(action, short, reported)
        stars = [number for number, output in enumerate(short) if "*" in output.pattern]
        patterns = PatternSet(short[number].pattern for number in stars)
        for number, output in enumerate(short):
            if "*" in output.pattern:
                continue
            if self._steps + patterns.steps > _MOST_STEPS:
                break
            for found in patterns.matching_numbers(output.pattern):
                pair = (number, stars[found])
                if short[stars[found]].level != output.level and max(pair) not in reported:
                    reported.add(max(pair))
                    self._warn_overlap(action, short[min(pair)], short[max(pair)])
        self._steps += patterns.steps

    def _check_equal(self, action: str, short: list[Output], reported: set[int]) -> None:
        firsts: dict[str, dict[str, Output]] = {}
        for number, output in enumerate(short):
            levels = firsts.setdefault(output.pattern, {})
            earlier = next((first for level, first in levels.items() if level != output.level), None)
            if earlier is not None:
                reported.add(number)
                self._warn_overlap(action, earlier, output)
            levels.setdefault(output.level, output)

    def _warn_overlap(self, action: str, earlier: Output, later: Output) -> None:
        level = min(earlier.level, later.level, key=LEVELS.index)
        both = f"{quote(later.pattern)} (`{later.level}`) and {quote(earlier.pattern)} (`{earlier.level}`,"
        message = (
            f"In action {quote(action)}, {both} line {earlier.node.line}) can match the same file. The more "
            f"sensitive level wins, so it will be `{level}`; use separate folders if it should not be."
        )
        self._findings.warning("PS042", later.node, action, message, beside=earlier.node.line)


def pattern_faults(pattern: str, reviewed: bool) -> tuple[tuple[str, str], ...]:
    """(rule, rest of the message) for each thing wrong with a pattern; `reviewed`: PY047 applies."""
    faults: list[tuple[str, str]] = []

    def add(rule: str, message: str) -> None:
        faults.append((rule, message))

    shown = f"is {quote(pattern)}"
    if "\\" in pattern:
        add("PY044", f"{shown}, with a backslash. Write `/` between folders.")
    others = dict.fromkeys(_OTHER_WILDCARD.findall(pattern))
    if others:
        sample = _STARS.sub("*", _OTHER_WILDCARD.sub("*", pattern))
        add(
            "PY045",
            f"{shown}, with {listing(others)}. The one wildcard is `*`, within one folder: "
            f"write {quote(sample)}, say.",
        )
    extension = _extension(pattern)
    if not extension or extension.endswith("*"):
        add("PY046", f"{shown}, which does not end in a file type. Add one, such as `.csv`.")
    elif reviewed and extension not in REVIEWABLE:
        add(
            "PY047",
            f"{shown}; a {quote(extension)} file cannot be reviewed, so it may not be "
            "`moderately_sensitive`. Write a .csv or .txt, or label it `highly_sensitive`.",
        )
    if not _in_plain_form(pattern):
        add("PY048", f"{shown}, not in its plain form. Write it without empty, `.` and `..` parts.")
    elif pattern.removeprefix("/").split("/", 1)[0] == "..":
        add("PS040", f"{shown}, outside the repository. Give a path inside.")
    if pattern.startswith("metadata/"):
        add("PY049", f"{shown}, but folder `metadata` is kept for logs. Write to another one.")
    elif "/" in pattern and pattern.split("/", 1)[0].lower() == "metadata":
        add("PS041", f"{shown}; that folder is too like `metadata`, which is kept for logs. Use another.")
    if pattern.startswith("/") or _DRIVE.match(pattern):
        add("PY050", f"{shown}, an absolute path. Give it relative to the repository's root.")
    control = _CONTROL.search(pattern)
    if control:
        add("PS043", f"holds {character(control.group())}. Remove it.")
    if _too_long(pattern):
        add("PS043", f"begins {quote(pattern)} and is longer than {MAX_PATTERN_BYTES:,} bytes. Shorten it.")
    return tuple(faults)


def _extension(pattern: str) -> str:
    """From the last dot of the last segment to its end; empty if that dot is its first or last character."""
    last = next((part for part in reversed(pattern.split("/")) if part not in ("", ".")), "")
    dot = last.rfind(".")
    return last[dot:] if 0 < dot < len(last) - 1 else ""


def _in_plain_form(pattern: str) -> bool:
    if pattern == "/":
        return True
    first, *others = pattern.removeprefix("/").split("/")
    return first not in ("", ".") and not any(part in ("", ".", "..") for part in others)


def _too_long(pattern: str) -> bool:
    # The first comparison alone decides for texts that are too long to encode again and again.
    return len(pattern) > MAX_PATTERN_BYTES or len(pattern.encode()) > MAX_PATTERN_BYTES
