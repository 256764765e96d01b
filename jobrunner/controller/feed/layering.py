"""Puts the actions of a pipeline in layers: every action after all that it needs, with few crossing lines.

The usual layered drawing of a directed graph (Sugiyama, Tagawa and Toda, 1981), in its simplest form:
layers by the longest way, stand-ins where a line passes a layer, and sweeps that move everything to the mean
place of its neighbours. Pure values, no drawing.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

N = TypeVar("N", bound=Hashable)

_SWEEPS: Final = 6


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: its layer from 0, and how far along it from 0, in steps; halves occur."""

    layer: int
    along: float


@dataclass(frozen=True, slots=True)
class Layout:
    """`places` has one place for each action, by its number; `lines` lead from a need to what needs it,
    each a list of places that begins and ends at an action. `depth` and `breadth` are counts of places."""

    places: tuple[Place, ...]
    lines: tuple[tuple[Place, ...], ...]
    depth: int
    breadth: int


def layout(count: int, needs: Iterable[tuple[int, int]]) -> Layout:
    """Places for actions 0 to `count` - 1, where each pair of `needs` is (action, what it needs).

    What lies on a circle, which no checked pipeline has, is put into the last layer without lines.
    """
    pairs = [pair for pair in dict.fromkeys(needs) if pair[0] != pair[1]]
    layer_of, whole = _layers(count, pairs)
    lines = [_line(need, action, layer_of) for action, need in pairs if action in whole and need in whole]
    nodes: list[_Node] = [(layer_of[action], action, -1) for action in range(count)]
    layers = _ordered(list(dict.fromkeys([*nodes, *(node for line in lines for node in line)])), lines)
    breadth = max(map(len, layers), default=0)
    places = {
        node: Place(number, (breadth - len(layer)) / 2 + position)
        for number, layer in enumerate(layers)
        for position, node in enumerate(layer)
    }
    return Layout(
        places=tuple(places[node] for node in nodes),
        lines=tuple(tuple(places[node] for node in line) for line in lines),
        depth=len(layers),
        breadth=breadth,
    )


# A layer, an action, and for a stand-in the action to which its line leads, else -1.
_Node = tuple[int, int, int]


def _layers(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[list[int], set[int]]:
    """The layer of each action, and the actions that are on no circle and behind none."""
    missing = [0] * count
    followers: list[list[int]] = [[] for _ in range(count)]
    for action, need in pairs:
        missing[action] += 1
        followers[need].append(action)
    layer_of = [0] * count
    ready = [action for action in range(count) if not missing[action]]
    for action in ready:
        for follower in followers[action]:
            layer_of[follower] = max(layer_of[follower], layer_of[action] + 1)
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    whole = set(ready)
    last = max((layer_of[action] for action in whole), default=0)
    for action in range(count):
        if action not in whole:
            layer_of[action] = last
    return layer_of, whole


def _line(need: int, action: int, layer_of: Sequence[int]) -> list[_Node]:
    passed = range(layer_of[need] + 1, layer_of[action])
    return [
        (layer_of[need], need, -1),
        *((layer, need, action) for layer in passed),
        (layer_of[action], action, -1),
    ]


def _ordered(nodes: Iterable[_Node], lines: Iterable[Sequence[_Node]]) -> list[list[_Node]]:
    """The nodes of each layer, in the order in which they stand."""
    before: dict[_Node, list[_Node]] = {}
    after: dict[_Node, list[_Node]] = {}
    for line in lines:
        for one, other in pairwise(line):
            after.setdefault(one, []).append(other)
            before.setdefault(other, []).append(one)
    by_layer: dict[int, list[_Node]] = {}
    for node in nodes:
        by_layer.setdefault(node[0], []).append(node)
    layers = [by_layer[number] for number in sorted(by_layer)]
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for here, beside in _neighbours(layers, forth=forth):
            here.sort(key=_means(here, beside, before if forth else after).__getitem__)
    return layers


def _neighbours(layers: list[list[_Node]], *, forth: bool) -> Iterable[tuple[list[_Node], list[_Node]]]:
    if forth:
        return zip(layers[1:], layers, strict=False)
    return zip(reversed(layers[:-1]), reversed(layers), strict=False)


def _means(
    here: Sequence[_Node], beside: Sequence[_Node], links: Mapping[_Node, Sequence[_Node]]
) -> dict[_Node, float]:
    """Where each node would like to stand: amid its neighbours, or where it stands if it has none."""
    middle, other_middle = (len(here) - 1) / 2, (len(beside) - 1) / 2
    position = {node: number - other_middle for number, node in enumerate(beside)}
    means = {}
    for number, node in enumerate(here):
        found = [position[neighbour] for neighbour in links.get(node, ())]
        means[node] = sum(found) / len(found) if found else number - middle
    return means
