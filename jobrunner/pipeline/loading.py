"""`load`: bytes to a pipeline, or to all problems at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.model import Action, Loaded, Pipeline, Problem, is_database_action
from jobrunner.pipeline.nodes import MAPPING, NULL, Node, Plainer
from jobrunner.pipeline.reading import Stop, read_document
from jobrunner.pipeline.rules_actions import ActionRules, CheckedAction
from jobrunner.pipeline.rules_top import check_expectations, check_keys, check_version
from jobrunner.pipeline.text import decode


def load(data: bytes) -> Loaded:
    """Check a `project.yaml`. Never raises on any input; time is near-linear in the size of the file.

    Returns every problem that can be told, and the pipeline if none of them is an error.
    """
    with _collector_paused():
        root, found = read_tree(data)
        if root is None:
            return Loaded(None, Findings(found).sorted())
        fault = _top_fault(root)
        if fault is not None:
            return Loaded(None, Findings([*found, fault]).sorted())
        return _check(root, Findings(found))


def read_tree(data: bytes) -> tuple[Node | None, list[Problem]]:
    """The tree of a YAML text by the rules of project-yaml.md section 1, and the problems of reading it.

    The tree is None if reading had to stop, and a null node for an empty text.
    """
    text = decode(data)
    if text.text is None:
        return None, list(text.problems)
    try:
        with _collector_paused():
            root, found = read_document(text.text)
    except Stop as stop:
        return None, [*text.problems, *stop.problems]
    return root or Node(NULL, None, "", 1, 1), [*text.problems, *found]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Reading makes many small values and no cycles; the cycle collector would double the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _top_fault(root: Node) -> Problem | None:
    if root.kind is NULL:
        return Problem("PS007", "error", 1, 1, None, "The file is empty. Start with `version` and `actions`.")
    if root.kind is MAPPING:
        return None
    message = f"The file is {root.describe()}. It must be a mapping with `version` and `actions`."
    return Problem("PS008", "error", root.line, root.column, None, message)


def _check(root: Node, findings: Findings) -> Loaded:
    top = root.entries
    check_keys(top, findings)
    version = check_version(top, findings)
    population_size = check_expectations(top, version, findings)
    checked = ActionRules(version, findings).check_all(top)
    problems = findings.sorted()
    shown = None if version is None else str(version)
    if shown is None or any(problem.severity == "error" for problem in problems):
        return Loaded(None, problems, shown)
    plainer = Plainer()
    actions = {action.id: _action(action, plainer) for action in checked}
    return Loaded(Pipeline(shown, population_size, MappingProxyType(actions)), problems, shown)


def _action(checked: CheckedAction, plainer: Plainer) -> Action:
    command, outputs = checked.command, checked.outputs
    if command is None or command.image.version is None or outputs is None:
        raise ValueError(f"action {checked.id} was accepted without a command or outputs")
    levels: dict[str, Any] = {level: {} for level in outputs.levels}
    for output in outputs.listed:
        levels[output.level][output.name] = output.pattern
    return Action(
        id=checked.id,
        image=command.image.name,
        image_version=command.image.version,
        argv=command.argv,
        needs=tuple(sorted(entry.text for entry in checked.needs)),
        outputs=MappingProxyType({level: MappingProxyType(named) for level, named in levels.items()}),
        config=None if checked.config is None else plainer.value(checked.config),
        is_database_action=is_database_action(command.image.name, command.argv),
    )
