"""The actions of a file: ids, keys, shapes (project-yaml.md 4.2 and PS020, PS025, PS050)."""

import math
import re
from dataclasses import dataclass

from jobrunner.pipeline.commands import Command
from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.nodes import FLOAT, LIST, MAPPING, NULL, TEXT, Entries, Node
from jobrunner.pipeline.rules_commands import CommandRules
from jobrunner.pipeline.rules_needs import check_needs
from jobrunner.pipeline.rules_outputs import OutputRules, Outputs
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import character, quote

MAX_ID = 128

_KEYS = frozenset({"run", "outputs", "needs", "config", "dummy_data_file"})
_ALLOWED_KEYS = (
    "Allowed are `run`, `outputs`, `needs`, `config`, `dummy_data_file`: "
    "remove it, or fix spelling or indentation."
)
#: The form of an action id, as a regular expression for the whole of it.
ID = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ID = re.compile(ID)
_ODD_IN_ID = re.compile(r"[^A-Za-z0-9._-]")

#: What each key must be, whether it may be null, and how to mend it (PY035).
_SHAPES: dict[str, tuple[str, bool, str]] = {
    "outputs": (
        MAPPING,
        False,
        "Write a level, a name and a path: `{highly_sensitive: {table: output/table.csv}}`.",
    ),
    "run": (TEXT, False, "Write `image:version` and its arguments as one text."),
    "needs": (LIST, True, "Write a list: `[extract]`."),
    "config": (MAPPING, True, "Write keys and values."),
    "dummy_data_file": (TEXT, True, "Write a path, or remove the key."),
}


@dataclass(frozen=True, slots=True)
class CheckedAction:
    """What is left of an action after its checks; without errors in the file all of it is there."""

    id: str
    command: Command | None
    outputs: Outputs | None
    needs: list[Node]
    config: Node | None


class ActionRules:
    """Checks actions one after the other."""

    def __init__(self, version: float | None, findings: Findings) -> None:
        self._version = version
        self._findings = findings
        self._outputs = OutputRules(version, findings)
        self._commands = CommandRules(version, findings)
        self._key_names = Suggestions(_KEYS, findings.comparisons)
        self._infinite: dict[int, tuple[Node, ...]] = {}

    def check_all(self, top: Entries) -> list[CheckedAction]:
        """Every rule about `actions` and what is in it."""
        if "actions" not in top:
            self._findings.error_at_start(
                "PY014", "The file has no `actions`. Add them: a mapping from action id to action."
            )
            return []
        node = top["actions"][1]
        if node.kind is not MAPPING:
            message = f"`actions` is {node.describe()}. Make it a mapping from action id to action."
            self._findings.error("PY014", node, None, message)
            return []
        if not node.entries and not node.left_out:
            self._findings.warning(
                "PS025", node, None, "The file has no actions, so nothing can run. Add one."
            )
        checked = [self._check(action, key, value) for action, (key, value) in node.entries.items()]
        check_needs({action.id: action.needs for action in checked}, self._findings)
        return checked

    def _check(self, action: str, key: Node, node: Node) -> CheckedAction:
        self._check_id(action, key)
        if node.kind is not MAPPING:
            message = (
                f"Action {quote(action)} is {node.describe()}. Give it keys: `run` and `outputs` at least."
            )
            self._findings.error("PY032", node, action, message)
            return CheckedAction(action, None, None, [], None)
        self._check_keys(action, key, node)
        parts = {name: self._shaped(action, name, node) for name in _SHAPES}
        outputs_node, run, needs, config = parts["outputs"], parts["run"], parts["needs"], parts["config"]
        outputs = None
        if outputs_node is not None:
            outputs = self._outputs.check(action, node.entries["outputs"][0], outputs_node)
        command = self._commands.check(action, run, outputs) if run is not None else None
        if config is not None:
            self._check_config(action, config)
        return CheckedAction(action, command, outputs, needs.nodes if needs is not None else [], config)

    def _check_id(self, action: str, key: Node) -> None:
        if action == "run_all" and self._version is not None:
            if self._version >= 5:
                message = "from version 5 on no action may have this name. Rename or delete it."
                self._findings.error(
                    "PY030", key, action, f"`run_all` is built in and means every action; {message}"
                )
            else:
                message = "`run_all` is built in, and a request for it does not start this action."
                self._findings.warning("PY031", key, action, f"{message} Rename or delete it.")
        fault = _id_fault(action)
        if fault:
            message = f"Action id {quote(action)} {fault}. Use letters, digits, `.`, `_` and `-` only"
            self._findings.error("PS020", key, action, f"{message}, such as {quote(_mended_id(action))}.")

    def _check_keys(self, action: str, key: Node, node: Node) -> None:
        for name, (other, _) in node.entries.items():
            if name not in _KEYS:
                message = f"Unknown key {quote(name)} in action {quote(action)}. {_ALLOWED_KEYS}"
                message += self._key_names.hint(name)
                self._findings.error("PY034", other, action, message)
        if "run" not in node.entries:
            message = f"Action {quote(action)} has no `run`. Add it: `image:version` and its arguments."
            self._findings.error("PY033", key, action, message)
        if "outputs" not in node.entries:
            message = f"Action {quote(action)} has no `outputs`. Add them: a level, a name and a path."
            self._findings.error("PY033", key, action, message)

    def _shaped(self, action: str, name: str, node: Node) -> Node | None:
        """The value of a key. None if it is left away, and None with PY035 if its shape is wrong."""
        if name not in node.entries:
            return None
        value = node.entries[name][1]
        kind, optional, hint = _SHAPES[name]
        if value.kind is kind:
            return value
        if not (optional and value.kind is NULL):
            message = f"`{name}` of action {quote(action)} is {value.describe()}. {hint}"
            self._findings.error("PY035", value, action, message)
        return None

    def _check_config(self, action: str, config: Node) -> None:
        for node in self._infinite_in(config):
            message = f"`config` of action {quote(action)} holds {quote(node.text)}, which JSON cannot carry."
            self._findings.error("PS050", node, action, f"{message} Use null or a text.")

    def _infinite_in(self, node: Node) -> tuple[Node, ...]:
        """The numbers in a tree that are NaN or infinite; each shared part of the tree is searched once."""
        if node.kind is FLOAT:
            return () if math.isfinite(node.value) else (node,)
        if node.kind is not MAPPING and node.kind is not LIST:
            return ()
        if id(node) not in self._infinite:
            parts = node.nodes if node.kind is LIST else [value for _, value in node.entries.values()]
            found = dict.fromkeys(bad for part in parts for bad in self._infinite_in(part))
            self._infinite[id(node)] = tuple(found)
        return self._infinite[id(node)]


def _id_fault(action: str) -> str:
    if not action:
        return "is empty"
    if len(action) > MAX_ID:
        return f"is longer than {MAX_ID} characters"
    odd = _ODD_IN_ID.search(action)
    if odd and odd.group() == " ":
        return "has a space"
    if odd:
        return f"has {quote(odd.group()) if odd.group().isprintable() else character(odd.group())}"
    if not _ID.fullmatch(action):
        return "does not begin with a letter or digit"
    return "has `..` in it" if ".." in action else ""


def _mended_id(action: str) -> str:
    """An id like this one that may be used."""
    letters = re.sub(r"\.\.+", ".", _ODD_IN_ID.sub("_", action[:MAX_ID]))
    return letters.lstrip("._-") or "my_model"
