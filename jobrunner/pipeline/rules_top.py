"""The top of the file: keys, version, expectations (project-yaml.md 3; PY010 to PY020, PS010 to PS012)."""

import math
import re

from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.nodes import BOOLEAN, FLOAT, INTEGER, MAPPING, NULL, TEXT, Entries, Node
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import quote

CURRENT_VERSION = 5.0
_DEFAULT_POPULATION = 1000

_KEYS = frozenset({"version", "actions", "expectations"})
_VERSION_TEXT = re.compile(r" *[0-9]+(?:\.[0-9]*)? *")
_COUNT_TEXT = re.compile(r" *[0-9]+ *")

#: Python reads no longer integer from text.
_LONGEST_COUNT = 4_000


def check_keys(top: Entries, findings: Findings) -> None:
    """PY010: only three keys have a meaning."""
    suggestions = Suggestions(_KEYS, findings.comparisons)
    for name, (key, _) in top.items():
        if name not in _KEYS:
            message = "Only `version`, `actions` and `expectations` go here: remove it or fix the spelling."
            message += suggestions.hint(name)
            findings.error("PY010", key, None, f"Unknown key {quote(name)} at the top of the file. {message}")


def check_version(top: Entries, findings: Findings) -> float | None:
    """The version from 1 to 5, or None if it is not usable (PY011 to PY013, PS010, PS011)."""
    if "version" not in top:
        findings.error_at_start(
            "PY011", "The file does not say which format version it follows. Add `version: '5.0'`."
        )
        return None
    node = top["version"][1]
    if node.kind is NULL:
        findings.error("PY011", node, None, "`version` is empty. Write `version: '5.0'`.")
        return None
    number = _version_number(node)
    if number is None:
        what = quote(node.text) if node.kind is TEXT else node.describe()
        findings.error(
            "PY012", node, None, f"`version` is {what}, and that is no number. Write `version: '5.0'`."
        )
        return None
    usual = node.kind is not BOOLEAN and (
        node.kind is not TEXT or _VERSION_TEXT.fullmatch(node.text) is not None
    )
    if not usual or not number >= 1:
        message = f"`version` is {quote(node.text)}. It must be a number from 1 to 5, in plain digits."
        findings.error("PS011", node, None, message)
        return None
    if number > CURRENT_VERSION:
        shown = quote(node.text if len(node.text) > 20 else str(number))
        message = f"Version {shown} is newer than this jobrunner (5.0). Lower it, or update jobrunner."
        findings.error("PS010", node, None, message)
        return None
    if number != CURRENT_VERSION:
        message = (
            f"The file follows version {number} of the format; 5.0 is current. It still works; "
            "when you move to 5.0, mend what the newer version refuses."
        )
        findings.warning("PY013", node, None, message)
    return number


def _version_number(node: Node) -> float | None:
    """The number that stands here in whatever form, NaN and infinity too; None if there is none."""
    if node.kind not in (TEXT, INTEGER, FLOAT, BOOLEAN):
        return None
    try:
        return float(node.value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf if node.value > 0 else -math.inf


def check_expectations(top: Entries, version: float | None, findings: Findings) -> int | None:
    """The population size of this version (PY015 to PY020, PS012); None too if it is unusable."""
    if version is None:
        return None
    key, node = top.get("expectations", (None, None))
    if version >= 4:
        if key is not None and node is not None and node.kind is not NULL:
            message = "`expectations` has no meaning from version 4 on. Delete this section."
            findings.error("PY015", key, None, message)
        return None
    if version != 3:
        return _DEFAULT_POPULATION
    advice = "Add `expectations: {population_size: 1000}`, or move to version 5."
    if key is None or node is None:
        findings.error_at_start("PY016", f"Version 3 wants a section `expectations`. {advice}")
        return None
    if node.kind is NULL:
        findings.error(
            "PY016", key, None, f"Version 3 wants something in `expectations`, which is empty. {advice}"
        )
        return None
    if node.kind is not MAPPING:
        message = f"`expectations` is {node.describe()}. Write `expectations: {{population_size: 1000}}`."
        findings.error("PY017", node, None, message)
        return None
    for name, (other, _) in node.entries.items():
        if name != "population_size":
            message = (
                f"Unknown key {quote(name)} in `expectations`. Only `population_size` goes here: remove it."
            )
            findings.error("PY019", other, None, message)
    if "population_size" not in node.entries:
        message = "`expectations` lacks `population_size`. Add it, with a whole number, such as 1000."
        findings.error("PY018", key, None, message)
        return None
    return _population_size(node.entries["population_size"][1], findings)


def _population_size(node: Node, findings: Findings) -> int | None:
    value = node.value
    readable = node.kind in (TEXT, INTEGER, FLOAT, BOOLEAN)
    if readable and node.kind is FLOAT:
        readable = not math.isnan(value)
    if readable and node.kind is TEXT:
        readable = _holds_integer(value) or _COUNT_TEXT.fullmatch(value) is not None
    if not readable:
        what = quote(node.text) if node.text else node.describe()
        findings.error(
            "PY020", node, None, f"`population_size` is {what}. Give a whole number, such as 1000."
        )
        return None
    usual = node.kind is not BOOLEAN and not (node.kind is FLOAT and math.isinf(value))
    if node.kind is TEXT:
        usual = len(value) <= _LONGEST_COUNT and _COUNT_TEXT.fullmatch(value) is not None
    if not usual or int(value) < 1:
        message = (
            f"`population_size` is {quote(node.text)}. Give a whole number of 1 or more, in plain digits."
        )
        findings.error("PS012", node, None, message)
        return None
    return int(value)


def _holds_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
