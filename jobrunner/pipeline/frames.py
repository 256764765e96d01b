"""Where reading is: the collections whose end has not come yet, and the action that each is part of."""

from jobrunner.pipeline.nodes import LIST, MAPPING, MERGE, Node

# Where a collection stands, as far as the owner of a problem depends on it.
ROOT, ACTIONS, ACTION, INSIDE, ELSEWHERE = range(5)


class Frame:
    """A collection that is being read."""

    __slots__ = (
        "action",
        "anchor",
        "flow",
        "is_mapping",
        "items",
        "merging",
        "node",
        "nodes_before",
        "place",
        "reach",
    )

    def __init__(self, node: Node, place: int, action: str | None, merging: bool, flow: bool) -> None:
        self.node = node
        self.is_mapping = node.kind is MAPPING
        #: Keys and values in turn, or entries; a collection stands here as soon as it begins.
        self.items: list[Node] = []
        self.place = place
        self.action = action
        #: A list under `<<`: the mappings in it count as parts of the mapping around.
        self.merging = merging
        self.flow = flow
        self.anchor: str | None = None
        #: How many values had been counted before this one.
        self.nodes_before = 0
        #: The greatest depth reached inside, aliases followed.
        self.reach = 0

    @property
    def wants_value(self) -> bool:
        """Whether a key has been read and its value has not."""
        return self.is_mapping and len(self.items) % 2 == 1

    @property
    def levels_merged(self) -> int:
        """How many levels of what comes next vanish by merging: merged keys lie no deeper than others."""
        if self.merging:
            return 2
        return 1 if self.wants_value and self.items[-1].kind is MERGE else 0

    def current_action(self) -> str | None:
        """The action whose text comes next; the value of an action's id belongs to that action."""
        if self.place == ACTIONS and self.wants_value:
            key = self.items[-1]
            return key.text if key.kind not in (LIST, MAPPING, MERGE) else None
        return self.action


def new_frame(outer: Frame | None, node: Node, flow: bool) -> Frame:
    """The frame of a collection inside `outer`; its place follows from the key before it."""
    if outer is None:
        return Frame(node, ROOT, None, False, flow)
    if outer.merging:
        return Frame(node, outer.place, outer.action, False, flow)
    place = ELSEWHERE if outer.action is None else INSIDE
    action = outer.action
    if outer.wants_value:
        key = outer.items[-1]
        if key.kind is MERGE:
            return Frame(node, outer.place, action, node.kind is LIST, flow)
        if outer.place == ROOT and key.text == "actions":
            place = ACTIONS
        elif outer.place == ACTIONS and key.kind is not LIST and key.kind is not MAPPING:
            place, action = ACTION, key.text
    return Frame(node, place, action, False, flow)


def describe_place(stack: list[Frame]) -> str:
    """`in action ...` or `in <key> of action ...`, with a space before it; nothing outside actions."""
    action = stack[-1].current_action() if stack else None
    if action is None:
        return ""
    for frame in stack[:-1]:
        if frame.place == ACTION and frame.is_mapping:
            return f" in `{frame.items[-2].text}` of action `{action}`"
    return f" in action `{action}`"
