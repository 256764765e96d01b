"""Text to tree with libyaml's event parser; budgets are counted on events, before any alias is followed.

libyaml itself never builds the tree: its own composer has no limit of depth.
"""

import re
from typing import Any, NoReturn

from yaml import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from jobrunner.pipeline.entries import Identities, resolve
from jobrunner.pipeline.frames import ACTIONS, Frame, describe_place, new_frame
from jobrunner.pipeline.libyaml import CParser
from jobrunner.pipeline.model import Problem
from jobrunner.pipeline.nodes import LIST, MAPPING, MERGE, NULL, SCALAR_KINDS, Node
from jobrunner.pipeline.scalars import Scalar, UnfitTagError, read_plain, read_tagged
from jobrunner.pipeline.syntax_errors import explain
from jobrunner.pipeline.text import place
from jobrunner.pipeline.wording import quote
from jobrunner.pipeline.yaml12 import Adapted, Misread

MAX_DEPTH = 64
MAX_NODES = 1_000_000

_TAG_PREFIX = "tag:yaml.org,2002:"
_STR = _TAG_PREFIX + "str"
_SCALAR_TAGS = frozenset(_TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null"))
_COLLECTION_TAGS = {_TAG_PREFIX + "map": MAPPING, _TAG_PREFIX + "seq": LIST}

_SECOND_DOCUMENT = "A second YAML document begins here. Keep one: delete this line and all after it."

#: What may lie between a key in flow style and the `:` of a value left empty.
_COLON_BEFORE_EMPTY = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*:")


class Stop(Exception):
    """Reading cannot go on: `problems` holds what was found up to there and, last, the one that says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[-1].message)
        self.problems = problems


def read_document(text: str) -> tuple[Node | None, list[Problem]]:
    """The top node (None for a text without a document) and what was found besides.

    The problems are PY003, PY004, PS006 and PS009; any other raises Stop. Time: linear; a text that libyaml
    stumbles over is read again a bounded number of times.
    """
    adapted = Adapted(text)
    while True:
        reader = _Reader(adapted)
        try:
            return reader.read(), reader.problems
        except Misread as misread:
            if not adapted.mend_sign(misread.index):
                line, column = place(text, misread.index)
                message = (
                    "This is not valid YAML: too many texts here begin with `?` or `:`. Put them in quotes."
                )
                raise reader.stop("PY001", line, column, message) from misread
        except YAMLError as error:
            stumbled = error if isinstance(error, MarkedYAMLError) else None
            mark = stumbled.problem_mark if stumbled is not None else None
            if stumbled is None or mark is None or not adapted.mend(mark.index, stumbled.problem or ""):
                line, column, message = explain(error, adapted.text)
                if (
                    stumbled is not None
                    and mark is not None
                    and reader.is_second_document(stumbled.problem, mark)
                ):
                    raise reader.stop("PY005", line, column, _SECOND_DOCUMENT) from error
                raise reader.stop("PY001", line, column, message) from error


class _Reader:
    """One pass over a text. `problems` holds what was found besides."""

    def __init__(self, adapted: Adapted) -> None:
        self.problems: list[Problem] = []
        self._adapted = adapted
        self._stack: list[Frame] = []
        self._root: Node | None = None
        self._nodes = -1  # the top mapping is no key, value or entry
        #: Name -> (node, nodes in it, height); None while it is being read.
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._identities = Identities()
        self._previous: Any = None
        #: What each unquoted text stands for: most of them come again and again.
        self._plain: dict[str, Scalar] = {}

    def read(self) -> Node | None:
        """The top node, or None for a text without a document. Raises Stop, Misread, YAMLError."""
        try:
            self._read_events()
        except UnicodeDecodeError as error:
            # An escape in a tag that gives no UTF-8.
            mark = self._previous.end_mark
            message = "This is not valid YAML: a tag here holds an escape that is no character. Remove it."
            raise self.stop("PY001", mark.line + 1, mark.column + 1, message) from error
        return self._root

    def is_second_document(self, problem: str | None, mark: Any) -> bool:
        """After `...` YAML 1.2 takes a document without `---`; libyaml does not."""
        after_end = isinstance(self._previous, DocumentEndEvent) and self._previous.explicit
        is_start = problem == "did not find expected <document start>"
        return bool(after_end and is_start and self._adapted.text[mark.index] != "%")

    def _read_events(self) -> None:
        parser = CParser(self._adapted.text.encode("utf-8"))
        documents = 0
        event: Any
        next_event, scalar = parser.get_event, self._scalar
        while (event := next_event()) is not None:
            kind = event.__class__
            if kind is ScalarEvent:
                scalar(event)
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
                    self._stop("PY005", event, _SECOND_DOCUMENT)
            self._previous = event

    def _scalar(self, event: Any) -> None:
        # This runs up to a million times for one file: it looks at nothing twice.
        text: str = event.value
        tag, anchor, mark = event.tag, event.anchor, event.start_mark
        stack, adapted = self._stack, self._adapted
        depth = len(stack) + 1
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            self._stop_at_budget(event)
        quoted: str = event.style
        value: Scalar = text
        if tag is not None:
            value = self._tagged(event, text)
        elif not quoted:
            if adapted.signs:
                text = adapted.restore(text)
            if text in self._plain:
                value = self._plain[text]
            else:
                value = self._plain[text] = read_plain(text)
        node = Node(SCALAR_KINDS[value.__class__], value, text, mark.line + 1, mark.column + 1)
        if anchor is not None:
            self._anchors[anchor] = (node, 1, 1)
        if not stack:
            self._root = node
            return
        frame = stack[-1]
        if depth > frame.reach:
            frame.reach = depth
        if frame.flow:
            if adapted.has_tab:
                self._check_tab(event)
            if text and adapted.text[mark.index - 1] in "?:":
                self._check_sign(mark.index - 1, frame)
        if frame.is_mapping and not quoted:
            if not text and frame.flow and len(frame.items) % 2:
                self._place_empty(node, event)
            elif text == "<<" and len(frame.items) % 2 == 0 and tag != _STR:
                # Another node, as an alias to this text is a text.
                node = Node(MERGE, value, text, node.line, node.column)
        frame.items.append(node)

    def _check_sign(self, index: int, frame: Frame) -> None:
        """Libyaml takes the sign of `?x` and `{:x}` in brackets for an indicator; it is text."""
        if self._adapted.text[index] == "?":
            raise Misread(index)
        # A `:` before a text is an indicator if there is a key before it, as in `{"a":x}`.
        if frame.wants_value and frame.items[-1].kind is NULL and not frame.items[-1].text:
            raise Misread(index)

    def _check_tab(self, event: Any) -> None:
        """Libyaml lets a tab indent what is inside brackets."""
        if self._adapted.tab_indents(event.start_mark.index) and not self._stack[0].flow:
            self._stop("PY001", event, "This is not valid YAML: a tab indents this line. Indent with spaces.")

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
        self._report_at(
            event, "PS006", f"Tag {shown}{describe_place(self._stack)} is not supported. Remove it."
        )

    def _open(self, event: Any, kind: str) -> None:
        mark = event.start_mark
        self._count(event, 1, 1)
        if event.flow_style:
            if self._stack and self._stack[-1].flow:
                self._check_tab(event)
        elif self._adapted.tab_before(mark.index) and event.anchor is None and event.tag is None:
            self._stop(
                "PY001", event, "This is not valid YAML: a tab indents what begins here. Indent with spaces."
            )
        node = Node(kind, None, "", mark.line + 1, mark.column + 1)
        if event.tag is not None and _COLLECTION_TAGS.get(event.tag) is not kind:
            self._refuse_tag(event)
        frame = new_frame(self._stack[-1] if self._stack else None, node, event.flow_style)
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

    def _close(self) -> None:
        frame = self._stack.pop()
        node = frame.node
        if node.kind is LIST:
            node.value = frame.items
        else:
            resolve(node, frame.items, frame.action, frame.place == ACTIONS, self._identities, self._report)
        if frame.anchor is not None and self._anchors[frame.anchor] is None:
            depth = len(self._stack) + 1
            self._anchors[frame.anchor] = (node, self._nodes - frame.nodes_before, frame.reach - depth + 1)
        if self._stack and frame.reach > self._stack[-1].reach:
            self._stack[-1].reach = frame.reach

    def _alias(self, event: Any) -> None:
        name: str = event.anchor
        shown = quote(f"*{self._adapted.names.get(name, name)}")
        if name not in self._anchors:
            message = f"This is not valid YAML: the alias {shown} has no anchor before it."
            self._stop("PY001", event, f"{message} Define it, or fix the spelling.")
        known = self._anchors[name]
        if known is None:
            message = f"The alias {shown}{describe_place(self._stack)} contains itself. Write the value out."
            self._stop("PS004", event, message)
        node, nodes, height = known
        frame = self._stack[-1]
        if frame.flow:
            self._check_tab(event)
        self._count(event, nodes, max(1, height - frame.levels_merged))
        # An alias is never the top node: nothing could have set its anchor before.
        frame.items.append(node)

    def _count(self, event: Any, nodes: int, height: int) -> None:
        """Count a value of so many nodes and so many levels, and stop where a budget is passed."""
        self._nodes += nodes
        reach = len(self._stack) + height
        if self._nodes > MAX_NODES or reach > MAX_DEPTH:
            self._stop_at_budget(event)
        if self._stack and reach > self._stack[-1].reach:
            self._stack[-1].reach = reach

    def _stop_at_budget(self, event: Any) -> NoReturn:
        place_of = describe_place(self._stack)
        where = f",{place_of}" if place_of else ""
        if self._nodes > MAX_NODES:
            message = (
                f"With aliases expanded the file passes {MAX_NODES:,} values here{where}. Use fewer aliases."
            )
            self._stop("PS003", event, message)
        self._stop("PS002", event, f"Nesting goes deeper than {MAX_DEPTH} here{where}. Flatten it.")

    def _place_empty(self, node: Node, event: Any) -> None:
        """Move a value left empty in flow style to just after its `:`; libyaml puts it at what follows."""
        gap = self._adapted.text[self._previous.end_mark.index : event.start_mark.index]
        colon = _COLON_BEFORE_EMPTY.match(gap)
        if colon:
            line, column = place(gap, colon.end())
            mark = self._previous.end_mark
            node.line = mark.line + line
            node.column = column if line > 1 else mark.column + column

    def action(self) -> str | None:
        """The action whose text is being read."""
        return self._stack[-1].current_action() if self._stack else None

    def stop(self, rule: str, line: int, column: int, message: str) -> Stop:
        """The exception that ends the reading here."""
        return Stop([*self.problems, Problem(rule, "error", line, column, self.action(), message)])

    def _stop(self, rule: str, event: Any, message: str) -> NoReturn:
        mark = event.start_mark
        raise self.stop(rule, mark.line + 1, mark.column + 1, message)

    def _report_at(self, event: Any, rule: str, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(rule, "error", mark.line + 1, mark.column + 1, self.action(), message))

    def _report(self, rule: str, node: Node, action: str | None, message: str, beside: int | None) -> None:
        self.problems.append(Problem(rule, "error", node.line, node.column, action, message, beside))
