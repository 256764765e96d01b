"""The `needs` of actions: entries, unknown ids, circles (project-yaml.md PY036, PY037, PS021 to PS024)."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.nodes import TEXT, Node
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import quote

_LONGEST_CIRCLE_SHOWN = 8


def check_needs(needs: Mapping[str, list[Node]], findings: Findings) -> None:
    """Every rule about `needs`; the mapping has each action of the file, in file order."""
    suggestions = Suggestions(needs.keys(), findings.comparisons)
    spaced: dict[str, bool] = {}
    #: The entries of each action that lead to another one of the file, in order.
    leads: dict[str, list[Node]] = {}
    for action, entries in needs.items():
        leads[action] = []
        seen: set[str] = set()
        for number, entry in enumerate(entries, start=1):
            name, text = quote(action), entry.text
            if entry.kind is not TEXT:
                message = (
                    f"Entry {number} in `needs` of action {name} is {entry.describe()}. Write the bare id."
                )
                findings.error("PS021", entry, action, message)
                continue
            if text not in spaced:
                spaced[text] = " " in text
            if spaced[text]:
                message = f"Entry {quote(text)} in `needs` of action {name} has a space in it."
                findings.error("PY036", entry, action, f"{message} Put a comma between two ids.")
            elif text == action:
                message = f"Action {name} needs itself and could never start. Remove the entry."
                findings.error("PS022", entry, action, message)
            elif text not in needs:
                message = f"Action {name} needs {quote(text)}, but the file has no such action."
                hint = suggestions.hint(text) or " Remove the entry, or fix the spelling."
                findings.error("PY037", entry, action, message + hint)
            elif text in seen:
                message = f"{quote(text)} stands twice in `needs` of action {name}. Remove one."
                findings.warning("PS024", entry, action, message)
            else:
                seen.add(text)
                leads[action].append(entry)
    targets = {action: [entry.text for entry in entries] for action, entries in leads.items()}
    for circle in circles(targets):
        first, members = circle[0], set(circle)
        entry = next(entry for entry in leads[first] if entry.text in members)
        way = _way_back(first, entry.text, members, targets)
        shown = ", ".join(_links(way, leads))
        message = f"{shown}: a circle, so that none of them could ever start. Remove one of these needs."
        findings.error("PS023", entry, first, message)


def circles(targets: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each set of two or more names that all lead to each other, in the order of the mapping.

    Tarjan's algorithm without recursion. Time: linear in names and entries. An entry that is no key, or
    leads to itself, is passed over.
    """
    order = {name: number for number, name in enumerate(targets)}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_names: list[str] = []
    is_open: set[str] = set()
    found: list[list[str]] = []
    for root in targets:
        if root in index:
            continue
        work: list[tuple[str, Iterator[str]]] = [(root, iter(targets[root]))]
        index[root] = low[root] = len(index)
        open_names.append(root)
        is_open.add(root)
        while work:
            name, following = work[-1]
            for other in following:
                if other not in targets:
                    continue
                if other not in index:
                    index[other] = low[other] = len(index)
                    open_names.append(other)
                    is_open.add(other)
                    work.append((other, iter(targets[other])))
                    break
                if other in is_open:
                    low[name] = min(low[name], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    members: list[str] = []
                    while not members or members[-1] != name:
                        members.append(open_names.pop())
                    is_open.difference_update(members)
                    found.append(members)
    return sorted(
        (sorted(one, key=order.__getitem__) for one in found if len(one) > 1), key=lambda one: order[one[0]]
    )


def _links(way: Sequence[str], leads: Mapping[str, Sequence[Node]]) -> Iterator[str]:
    """Each step of the way with the line it is written on; of a long way its beginning and its last step."""
    pairs = list(pairwise(way))
    left_out = max(0, len(pairs) - _LONGEST_CIRCLE_SHOWN)
    for number, (action, other) in enumerate(pairs):
        if left_out and number == _LONGEST_CIRCLE_SHOWN - 1:
            yield f"and {left_out} more"
        if number < _LONGEST_CIRCLE_SHOWN - 1 or number == len(pairs) - 1:
            line = next(entry.line for entry in leads[action] if entry.text == other)
            yield f"{quote(action)} needs {quote(other)} (line {line})"


def _way_back(first: str, second: str, members: set[str], targets: Mapping[str, Sequence[str]]) -> list[str]:
    """A shortest way first, second, ..., first inside the circle."""
    before = {second: first}
    queue = deque([second])
    while queue:
        name = queue.popleft()
        for other in targets[name]:
            if other == first:
                way = [first]
                while name != first:
                    way.append(name)
                    name = before[name]
                return [first, *reversed(way[1:]), first]
            if other in members and other not in before:
                before[other] = name
                queue.append(other)
    raise ValueError("the names do not form a circle")
