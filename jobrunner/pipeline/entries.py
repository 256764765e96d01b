"""From the keys and values of one mapping, as written, to its entries: repeats, odd keys, merge keys."""

from collections.abc import Callable

from jobrunner.pipeline.nodes import BOOLEAN, FLOAT, INTEGER, LIST, MAPPING, MERGE, NULL, TEXT, Entries, Node
from jobrunner.pipeline.wording import quote

#: Reports an error: rule id, node it is at, action it belongs to, message, line of the other place.
Report = Callable[[str, Node, str | None, str, int | None], None]

_ODD_KEYS = {
    NULL: ("null", "Put it in quotes."),
    BOOLEAN: ("a boolean", "Put it in quotes."),
    INTEGER: ("a number", "Put it in quotes."),
    FLOAT: ("a number", "Put it in quotes."),
    LIST: ("a list", "Write a text."),
    MAPPING: ("a mapping", "Write a text."),
}


class Identities:
    """Tells whether two keys are equal, lists and mappings too, in time linear in the file.

    Equal keys are equal in kind: `1` and `'1'` are two keys, and so are `1` and `1.0`.
    """

    def __init__(self) -> None:
        self._by_shape: dict[object, int] = {}
        # The nodes are kept beside their numbers, so that no id is used again.
        self._by_node: dict[int, tuple[Node, int]] = {}

    def of(self, node: Node) -> object:
        """A hashable value that only equal nodes share."""
        if node.kind is TEXT:
            return node.value
        if node.kind is LIST or node.kind is MAPPING:
            return self._collection(node)
        return (node.kind, repr(node.value))

    def _collection(self, node: Node) -> tuple[str, int]:
        known = self._by_node.get(id(node))
        if known is None:
            shape: tuple[str, object]
            if node.kind is LIST:
                shape = (LIST, tuple(self.of(part) for part in node.nodes))
            else:
                pairs = node.entries.items()
                shape = (MAPPING, frozenset((key, self.of(value)) for key, (_, value) in pairs))
            known = (node, self._by_shape.setdefault(shape, len(self._by_shape)))
            self._by_node[id(node)] = known
        return ("collection", known[1])


def resolve(
    mapping: Node,
    items: list[Node],
    action: str | None,
    in_actions: bool,
    identities: Identities,
    report: Report,
) -> None:
    """Set the entries of `mapping` from its keys and values in turn (PY003, PY004, PS009; merge keys).

    `action` is the action whose text the mapping is part of. With `in_actions` each key is an action id,
    and its problems belong to that action. Work: the number of entries, merged ones included.
    """
    entries: Entries = {}
    firsts: dict[object, Node] = {}
    merged: Node | None = None
    for key, value in zip(items[::2], items[1::2], strict=True):
        kind = key.kind
        named = kind is not LIST and kind is not MAPPING
        owner = key.text if in_actions and named and kind is not MERGE else action
        if kind in _ODD_KEYS:
            what, hint = _ODD_KEYS[kind]
            report("PS009", key, owner, f"{_key(key)}{_of(owner)} is {what}. {hint}", None)
        identity = key.value if kind is TEXT else identities.of(key)
        if identity in firsts:
            line = firsts[identity].line
            message = f"{_key(key)}{_of(owner)} was already given on line {line}. Keep one of the two."
            report("PY003", key, owner, message, line)
            continue
        firsts[identity] = key
        if kind is MERGE:
            merged = value
        elif named:
            entries.setdefault(key.text, (key, value))
        else:
            mapping.left_out = True
    if merged is not None:
        _merge(mapping, entries, merged, action, report)
    mapping.value = entries


def _merge(mapping: Node, entries: Entries, merged: Node, action: str | None, report: Report) -> None:
    sources = [merged] if merged.kind is MAPPING else merged.nodes
    if merged.kind not in (MAPPING, LIST) or any(source.kind is not MAPPING for source in sources):
        what = "nothing" if merged.kind is NULL else merged.describe()
        message = f"`<<`{_of(action)} must point at a mapping, but here is {what}"
        if merged.kind is LIST:
            message += " that does not hold mappings only"
        report("PY004", merged, action, f"{message}. Point it at an anchored mapping.", None)
        return
    for source in sources:
        mapping.left_out = mapping.left_out or source.left_out
        for name, entry in source.entries.items():
            entries.setdefault(name, entry)


def _key(key: Node) -> str:
    return f"Key {quote(key.text)}" if key.text else "This key"


def _of(action: str | None) -> str:
    return "" if action is None else f" of action {quote(action)}"
