"""The parsed file as a tree in which every value knows where it is written."""

from typing import Any

from jobrunner.pipeline.wording import quote

MAPPING = "mapping"
LIST = "list"
TEXT = "text"
INTEGER = "integer"
FLOAT = "float"
BOOLEAN = "boolean"
NULL = "null"
#: The key `<<`, unquoted. Only ever the kind of a key.
MERGE = "merge"

SCALAR_KINDS: dict[type, str] = {str: TEXT, int: INTEGER, float: FLOAT, bool: BOOLEAN, type(None): NULL}

#: Key text -> (key, value), own keys first, then merged ones.
Entries = dict[str, tuple["Node", "Node"]]


class Node:
    """One value: a scalar, a list of nodes or a mapping. Aliases share the node that they stand for.

    `line` and `column` count from 1. `value` is the scalar, the list of nodes, or the entries of a mapping.
    `text` is a scalar as written. `left_out` is set for a mapping with keys that are lists or mappings, or
    whose `<<` is unusable: such a mapping holds less than was written.
    """

    __slots__ = ("column", "kind", "left_out", "line", "text", "value")

    def __init__(self, kind: str, value: Any, text: str, line: int, column: int) -> None:
        self.kind = kind
        self.value = value
        self.text = text
        self.line = line
        self.column = column
        self.left_out = False

    @property
    def entries(self) -> Entries:
        """The entries of a mapping; of anything else, none."""
        return self.value if self.kind is MAPPING else {}

    @property
    def nodes(self) -> "list[Node]":
        """The entries of a list; of anything else, none."""
        return self.value if self.kind is LIST else []

    def describe(self) -> str:
        """What this is, in words that fit after "is" or "holds"."""
        if self.kind is MAPPING:
            return "a mapping"
        if self.kind is LIST:
            return "a list"
        if self.kind is NULL:
            return "empty"
        if self.kind is BOOLEAN:
            return f"the boolean {quote(self.text)}"
        if self.kind is TEXT:
            return f"the text {quote(self.text)}"
        return f"the number {quote(self.text)}"


class Plainer:
    """Turns trees into dicts, lists and scalars, in file order. What the tree shares stays shared."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def value(self, node: Node) -> Any:
        """The plain value of a node; the nodes must outlive this object."""
        if node.kind is not MAPPING and node.kind is not LIST:
            return node.value
        if id(node) not in self._made:
            if node.kind is MAPPING:
                self._made[id(node)] = {key: self.value(value) for key, (_, value) in node.entries.items()}
            else:
                self._made[id(node)] = [self.value(part) for part in node.nodes]
        return self._made[id(node)]
