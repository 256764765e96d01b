"""Text to tree with libyaml's event parser; budgets are counted on events, before any alias is followed.

libyaml itself never builds the tree: its own composer has no limit of depth.
"""

import re
from typing import Any, NoReturn

from yaml import YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from jobrunner.pipeline.entries import Identities, resolve
from jobrunner.pipeline.libyaml import CParser
from jobrunner.pipeline.model import Problem
from jobrunner.pipeline.nodes import LIST, MAPPING, MERGE, SCALAR_KINDS, Node
from jobrunner.pipeline.scalars import Scalar, UnfitTagError, read_plain, read_tagged
from jobrunner.pipeline.syntax_errors import explain
from jobrunner.pipeline.text import place
from jobrunner.pipeline.wording import quote

MAX_DEPTH = 64
MAX_NODES = 1_000_000

_TAG_PREFIX = "tag:yaml.org,2002:"
_STR = _TAG_PREFIX + "str"
_SCALAR_TAGS = frozenset(_TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null"))
_COLLECTION_TAGS = {_TAG_PREFIX + "map": MAPPING, _TAG_PREFIX + "seq": LIST}

#: What may lie between a key in flow style and the `:` of a value left empty.
_COLON_BEFORE_EMPTY = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*:")

# Where a collection stands, as far as the owner of a problem depends on it.
_ROOT, _ACTIONS, _ACTION, _INSIDE, _ELSEWHERE = range(5)


class Stop(Exception):
    """Reading cannot go on; carries the one problem that says why."""

    def __init__(self, rule: str, line: int, column: int, action: str | None, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(rule, "error", line, column, action, message)


class _Frame:
    """A collection whose end has not been read yet."""

    __slots__ = ("action", "anchor", "flow", "items", "merging", "node", "nodes_before", "place", "reach")

    def __init__(self, node: Node, place: int, action: str | None, merging: bool, flow: bool) -> None:
        self.node = node
        self.items: list[Node] = []
        self.place = place
        self.action = action
        #: A list under `<<`: the mappings in it count as parts of the mapping around.
        self.merging = merging
        self.flow = flow
        self.anchor: str | None = None
        self.nodes_before = 0
        #: The greatest depth reached inside, aliases followed.
        self.reach = 0


class Reader:
    """Reads one document. `problems` holds what was found besides (PY003, PY004, PS006, PS009)."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._nodes = -1  # the top mapping is no key, value or entry
        #: Name -> (node, nodes in it, height); None while it is being read.
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._identities = Identities()
        self._previous: Any = None

    def read(self) -> Node | None:
        """The top node, or None for a file without a document. Raises Stop."""
        try:
            self._read_events()
        except YAMLError as error:
            line, column, message = explain(error)
            raise Stop("PY001", line, column, self._action(), message) from error
        except UnicodeDecodeError as error:
            # An escape in a tag that gives no UTF-8.
            mark = self._previous.end_mark
            message = (
                "This is not valid YAML: a tag here holds an escape that is no character. Remove the tag."
            )
            raise Stop("PY001", mark.line + 1, mark.column + 1, self._action(), message) from error
        return self._root

    def _read_events(self) -> None:
        parser = CParser(self._text.encode("utf-8"))
        documents = 0
        event: Any
        while (event := parser.get_event()) is not None:
            kind = event.__class__
            if kind is ScalarEvent:
                self._scalar(event)
            elif kind is MappingStartEvent:
                self._open(event, MAPPING)
            elif kind is SequenceStartEvent:
                self._open(event, LIST)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._close()
            elif kind is AliasEvent:
                self._alias(event)
            elif kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    message = (
                        "A second YAML document begins here. Keep one: delete this line and all after it."
                    )
                    self._stop("PY005", event, message)
            self._previous = event

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        style: str = event.style
        self._count(event, 1, 1)
        value: Scalar = text
        if event.tag is not None:
            value = self._tagged(event, text)
        elif not style:
            value = read_plain(text)
        node = Node(SCALAR_KINDS[value.__class__], value, text, line, column)
        if self._stack:
            frame = self._stack[-1]
            is_mapping = frame.node.kind is MAPPING
            if is_mapping and not text and frame.flow and len(frame.items) % 2 and not style:
                self._place_empty(node, event)
            elif (
                is_mapping and text == "<<" and not style and len(frame.items) % 2 == 0 and event.tag != _STR
            ):
                node.kind = MERGE
            frame.items.append(node)
        else:
            self._root = node
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1, 1)

    def _tagged(self, event: Any, text: str) -> Scalar:
        if event.tag not in _SCALAR_TAGS:
            self._refuse_tag(event)
            return text if event.style else read_plain(text)
        short = event.tag.removeprefix(_TAG_PREFIX)
        try:
            return read_tagged(short, text)
        except UnfitTagError:
            message = f"the tag `!!{short}` does not fit {quote(text)}. Remove the tag or mend the value."
            self._stop("PY001", event, f"This is not valid YAML: {message}")

    def _refuse_tag(self, event: Any) -> None:
        tag: str = event.tag
        shown = quote("!!" + tag.removeprefix(_TAG_PREFIX) if tag.startswith(_TAG_PREFIX) else tag)
        if tag in _SCALAR_TAGS or tag in _COLLECTION_TAGS:
            message = f"This is not valid YAML: the tag {shown} does not fit what follows it. Remove the tag."
            self._stop("PY001", event, message)
        self._report_at(event, "PS006", f"Tag {shown}{self._where()} is not supported. Remove it.")

    def _open(self, event: Any, kind: str) -> None:
        mark = event.start_mark
        self._count(event, 1, 1)
        node = Node(kind, None, "", mark.line + 1, mark.column + 1)
        if event.tag is not None and _COLLECTION_TAGS.get(event.tag) is not kind:
            self._refuse_tag(event)
        frame = self._frame(node, event.flow_style)
        if event.anchor is not None:
            frame.anchor = event.anchor
            self._anchors[event.anchor] = None
        frame.nodes_before = self._nodes - 1
        frame.reach = len(self._stack) + 1
        if self._stack:
            self._stack[-1].items.append(node)
        else:
            self._root = node
        self._stack.append(frame)

    def _frame(self, node: Node, flow: bool) -> _Frame:
        """A frame for `node`: where it stands, and in which action, follow from the key before it."""
        if not self._stack:
            return _Frame(node, _ROOT, None, False, flow)
        outer = self._stack[-1]
        place, action = (_ELSEWHERE if outer.action is None else _INSIDE), outer.action
        if outer.merging:
            return _Frame(node, outer.place, action, False, flow)
        if outer.node.kind is MAPPING and len(outer.items) % 2:
            key = outer.items[-1]
            if key.kind is MERGE:
                return _Frame(node, outer.place, action, node.kind is LIST, flow)
            if outer.place == _ROOT and key.text == "actions":
                place = _ACTIONS
            elif outer.place == _ACTIONS and key.kind is not LIST and key.kind is not MAPPING:
                place, action = _ACTION, key.text
        return _Frame(node, place, action, False, flow)

    def _close(self) -> None:
        frame = self._stack.pop()
        node = frame.node
        if node.kind is LIST:
            node.value = frame.items
        else:
            resolve(node, frame.items, frame.action, frame.place == _ACTIONS, self._identities, self._report)
        if frame.anchor is not None and self._anchors[frame.anchor] is None:
            depth = len(self._stack) + 1
            self._anchors[frame.anchor] = (node, self._nodes - frame.nodes_before, frame.reach - depth + 1)
        if self._stack and frame.reach > self._stack[-1].reach:
            self._stack[-1].reach = frame.reach

    def _alias(self, event: Any) -> None:
        name: str = event.anchor
        if name not in self._anchors:
            self._stop("PY001", event, f"This is not valid YAML: the alias {quote('*' + name)} has no anchor before it. "
                       "Define it, or fix the spelling.")  # fmt: skip
        known = self._anchors[name]
        if known is None:
            self._stop("PS004", event, f"The alias {quote('*' + name)}{self._where()} contains itself. Write the "
                       "value out.")  # fmt: skip
        node, nodes, height = known
        self._count(event, nodes, height)
        # An alias is never the top node: nothing could have set its anchor before.
        self._stack[-1].items.append(node)

    def _count(self, event: Any, nodes: int, height: int) -> None:
        """Count a value of so many nodes and so many levels, and stop where a budget is passed."""
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop("PS003", event, f"With aliases expanded the file passes {MAX_NODES:,} values here"
                       f"{self._where(comma=True)}. Use fewer aliases.")  # fmt: skip
        reach = len(self._stack) + height
        if reach > MAX_DEPTH:
            message = f"Nesting goes deeper than {MAX_DEPTH} here{self._where(comma=True)}. Flatten it."
            self._stop("PS002", event, message)
        if self._stack and reach > self._stack[-1].reach:
            self._stack[-1].reach = reach

    def _place_empty(self, node: Node, event: Any) -> None:
        """Move a value left empty in flow style to just after its `:`; libyaml puts it at what follows."""
        gap = self._text[self._previous.end_mark.index : event.start_mark.index]
        colon = _COLON_BEFORE_EMPTY.match(gap)
        if colon:
            line, column = place(gap, colon.end())
            mark = self._previous.end_mark
            node.line = mark.line + line
            node.column = column if line > 1 else mark.column + column

    def _action(self) -> str | None:
        """The action whose text is being read."""
        if not self._stack:
            return None
        frame = self._stack[-1]
        if frame.place == _ACTIONS and frame.node.kind is MAPPING and len(frame.items) % 2:
            key = frame.items[-1]
            return key.text if key.kind not in (LIST, MAPPING, MERGE) else None
        return frame.action

    def _where(self, comma: bool = False) -> str:
        action = self._action()
        if action is None:
            return ""
        inside = ""
        for frame in self._stack[:-1]:
            if frame.place == _ACTION and frame.node.kind is MAPPING:
                # The value that is being read is already among the items.
                inside = f" in {quote(frame.items[-2].text)} of"
        return f"{',' if comma else ''}{inside or ' in'} action {quote(action)}"

    def _stop(self, rule: str, event: Any, message: str) -> NoReturn:
        mark = event.start_mark
        raise Stop(rule, mark.line + 1, mark.column + 1, self._action(), message)

    def _report_at(self, event: Any, rule: str, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(rule, "error", mark.line + 1, mark.column + 1, self._action(), message))

    def _report(self, rule: str, node: Node, action: str | None, message: str) -> None:
        self.problems.append(Problem(rule, "error", node.line, node.column, action, message))
