"""The pipeline of one request as a drawing: boxes for actions, lines for what they need; in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobrunner.controller.feed.layering import Layout, Place, layout
from jobrunner.controller.jobs.models import Job, JobRequest
from jobrunner.controller.jobs.tally import outcome
from jobrunner.controller.jobs.transitions import State

MAX_BOXES: Final = 60
MAX_LINES: Final = 240
MAX_BREADTH: Final = 24
MAX_LISTED: Final = 200

_WIDTH: Final = 196
_HEIGHT: Final = 48
_FLAT: Final = 30
_FLAT_FROM: Final = 10
_BETWEEN: Final = 16
_FOR_LINES: Final = 44
_EDGE: Final = 4
_PAGE_WIDTH: Final = 1020
_LABEL_LENGTH: Final = 19

# Key, action, state, reason, and the id of the request if it is another one.
_Node = tuple[int, str, str, str, str | None]


@dataclass(frozen=True, slots=True)
class Box:
    """One action: its upper left corner, its name, and the names of what it needs.

    `elsewhere` is the id of the request that runs it, if it is not this one.
    """

    x: float
    y: float
    action: str
    state: State
    reason: str
    needs: tuple[str, ...]
    elsewhere: str | None

    @property
    def label(self) -> str:
        """Its name, cut in the middle where it is too long for the box."""
        if len(self.action) <= _LABEL_LENGTH:
            return self.action
        half = _LABEL_LENGTH // 2
        return f"{self.action[:half]}…{self.action[-half:]}"

    @property
    def look(self) -> str:
        """The word by which it is drawn: what never ran must not look like the cause."""
        return outcome(self.state, self.reason)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes in running order and the paths of the lines between them, as SVG has it.

    Where many stand beside each other the boxes are flat: the state shows in shape and colour alone.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    box_height: int
    box_width: int = _WIDTH

    @property
    def is_flat(self) -> bool:
        """Whether there is room for one line of text only."""
        return self.box_height == _FLAT

    @property
    def columns(self) -> int:
        """Its width in boxes, for the hint that it can be scrolled; 5 is wider than any page."""
        return min(5, math.ceil(self.width / (_WIDTH + _FOR_LINES)))


@dataclass(frozen=True, slots=True)
class Step:
    """One action in a list that is too long for a drawing."""

    action: str
    state: State
    reason: str

    @property
    def look(self) -> str:
        """The word by which it is shown."""
        return outcome(self.state, self.reason)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A drawing, or the first actions as a list where a drawing would be too large; `more` are not listed."""

    drawing: Drawing | None
    steps: tuple[Step, ...]
    more: int


def pipeline_of(request: JobRequest) -> Pipeline:
    """The pipeline of a request, in three queries however large it is."""
    found = Job.objects.filter(request=request)
    rows = list(found.order_by("pk").values_list("pk", "action", "state", "reason")[: MAX_LISTED + 1])
    needs = _needs(request) if len(rows) <= MAX_BOXES else None
    drawing = None if needs is None else _drawing(rows, needs)
    if drawing is None:
        steps = tuple(Step(action, State(state), reason) for _, action, state, reason in rows[:MAX_LISTED])
        total = len(rows) if len(rows) <= MAX_LISTED else found.count()
        return Pipeline(None, steps, total - len(steps))
    return Pipeline(drawing, (), 0)


def _needs(request: JobRequest) -> list[tuple[int, int, str, str, str, str]] | None:
    """Job, needed job, and of that one action, state, reason and request; None when there are too many."""
    links: Any = Job.needs.through
    rows = links.objects.filter(from_job__request=request).order_by("pk")
    columns = (
        "from_job",
        "to_job",
        "to_job__action",
        "to_job__state",
        "to_job__reason",
        "to_job__request__request_id",
    )
    found = list(rows.values_list(*columns)[: MAX_LINES + 1])
    return found if len(found) <= MAX_LINES else None


def _drawing(
    rows: Sequence[tuple[int, str, str, str]], needs: Sequence[tuple[int, int, str, str, str, str]]
) -> Drawing | None:
    """The drawing; None for one that would be too broad to be looked at."""
    mine = {pk for pk, *_ in rows}
    others: dict[int, _Node] = {need[1]: need[1:] for need in needs if need[1] not in mine}
    nodes: list[_Node] = [*others.values(), *((*row, None) for row in rows)]
    number = {node[0]: index for index, node in enumerate(nodes)}
    placed = layout(len(nodes), [(number[job], number[need]) for job, need, *_ in needs])
    if placed.breadth > MAX_BREADTH:
        return None
    tall = _FLAT if placed.breadth > _FLAT_FROM else _HEIGHT
    needed: dict[int, list[str]] = {}
    for job, _, name, *_ in needs:
        needed.setdefault(job, []).append(name)
    down = _goes_down(placed, tall)
    corners = [_corner(place, tall, down=down) for place in placed.places]
    width, height = _size(placed, tall, down=down)
    return Drawing(
        width=width,
        height=height,
        boxes=tuple(
            Box(x, y, name, State(state), reason, tuple(needed.get(pk, ())), elsewhere)
            for (pk, name, state, reason, elsewhere), (x, y) in zip(nodes, corners, strict=True)
        ),
        lines=tuple(_path(line, tall, down=down) for line in placed.lines),
        box_height=tall,
    )


def _goes_down(placed: Layout, tall: int) -> bool:
    """Left to right, as people read, unless that is too wide for the page and downwards is narrower."""
    across, downwards = _size(placed, tall, down=False)[0], _size(placed, tall, down=True)[0]
    return across > _PAGE_WIDTH and downwards < across


def _size(placed: Layout, tall: int, *, down: bool) -> tuple[float, float]:
    far, wide = max(placed.depth, 1), max(placed.breadth, 1)
    if down:
        return _length(wide, _WIDTH, _BETWEEN), _length(far, tall, _FOR_LINES)
    return _length(far, _WIDTH, _FOR_LINES), _length(wide, tall, _BETWEEN)


def _length(count: int, each: int, between: int) -> int:
    return count * each + (count - 1) * between + 2 * _EDGE


def _corner(place: Place, tall: int, *, down: bool) -> tuple[float, float]:
    if down:
        return (
            _EDGE + place.along * (_WIDTH + _BETWEEN),
            _EDGE + place.layer * (tall + _FOR_LINES),
        )
    return _EDGE + place.layer * (_WIDTH + _FOR_LINES), _EDGE + place.along * (tall + _BETWEEN)


def _path(line: Sequence[Place], tall: int, *, down: bool) -> str:
    """A smooth line from box to box; past a box of another action it goes straight."""
    entries = []
    for place in line:
        x, y = _corner(place, tall, down=down)
        if down:
            entries.append(((x + _WIDTH / 2, y), (x + _WIDTH / 2, y + tall)))
        else:
            entries.append(((x, y + tall / 2), (x + _WIDTH, y + tall / 2)))
    (_, (x, y)) = entries[0]
    words = [f"M{x:g} {y:g}"]
    for (into_x, into_y), (out_x, out_y) in entries[1:]:
        if down:
            bend = (y + into_y) / 2
            words.append(f"C{x:g} {bend:g} {into_x:g} {bend:g} {into_x:g} {into_y:g}")
        else:
            bend = (x + into_x) / 2
            words.append(f"C{bend:g} {y:g} {bend:g} {into_y:g} {into_x:g} {into_y:g}")
        x, y = into_x, into_y
        if (into_x, into_y) != entries[-1][0]:
            words.append(f"L{out_x:g} {out_y:g}")
            x, y = out_x, out_y
    return "".join(words)
