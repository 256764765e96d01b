"""The drawing of a pipeline: needs before what needs them, nothing on top of anything else."""

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.controller.feed.layering import layout
from jobrunner.controller.feed.pipeline_graph import MAX_BOXES, MAX_BREADTH, MAX_LISTED, pipeline_of
from jobrunner.controller.jobs.transitions import State
from tests.fixtures.controller_rows import NEEDS, Rows, job
from tests.fixtures.public_scene import wide

pytestmark = pytest.mark.unit


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A count of actions, and pairs (action, need) without circles."""
    count = draw(st.integers(0, 14))
    possible = [(action, need) for action in range(count) for need in range(action)]
    order = draw(st.permutations(range(count)))
    pairs = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    return count, [(order[action], order[need]) for action, need in pairs]


def ladder(count: int, steps: int) -> dict[str, tuple[str, ...]]:
    """A pipeline of this many actions in so many layers, each action needing one of the layer before."""
    broad = -(-count // steps)
    return {
        f"action_{number}": (f"action_{number - broad}",) if number >= broad else ()
        for number in range(count)
    }


@given(graphs())
def test_needs_stand_before_and_no_two_share_a_place(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = graph
    found = layout(count, pairs)
    assert len(found.places) == count
    assert len(set(found.places)) == count
    for action, need in pairs:
        assert found.places[need].layer < found.places[action].layer
    assert {(line[-1], line[0]) for line in found.lines} == {
        (found.places[action], found.places[need]) for action, need in pairs
    }
    between = {place for line in found.lines for place in line[1:-1]}
    assert not between & set(found.places)
    for line in found.lines:
        assert [place.layer for place in line] == list(range(line[0].layer, line[-1].layer + 1))
    for place in (*found.places, *between):
        assert 0 <= place.layer < found.depth
        assert 0 <= place.along <= found.breadth - 1
    assert found == layout(count, pairs)


def test_a_chain_is_straight_and_a_simple_crossing_is_undone() -> None:
    chain = layout(4, [(1, 0), (2, 1), (3, 2)])
    assert {place.along for place in chain.places} == {0}
    crossed = layout(4, [(3, 0), (2, 1)])
    upper, lower = crossed.places[2].along, crossed.places[3].along
    assert (crossed.places[0].along < crossed.places[1].along) == (lower < upper)


def test_a_circle_is_drawn_without_its_lines() -> None:
    found = layout(3, [(0, 1), (1, 0), (2, 2)])
    assert len(found.places) == 3
    assert found.lines == ()


@pytest.mark.django_db
@pytest.mark.parametrize("count", [5, 20, 50, MAX_BOXES])
def test_boxes_do_not_overlap_and_lie_within_the_drawing(count: int) -> None:
    rows = Rows("north")
    request = rows.ask("run_all", needs=ladder(count, 4))
    assert request is not None
    drawing = pipeline_of(request).drawing
    assert drawing is not None
    assert drawing.is_flat == (count / 4 > 10)
    assert drawing.height <= 24 * 64
    assert len(drawing.boxes) == count
    for one, other in combinations(drawing.boxes, 2):
        apart = abs(one.x - other.x) >= drawing.box_width or abs(one.y - other.y) >= drawing.box_height
        assert apart
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - drawing.box_width
        assert 0 <= box.y <= drawing.height - drawing.box_height
    numbers = [float(text) for line in drawing.lines for text in re.findall(r"[\d.]+", line)]
    assert max(numbers) <= max(drawing.width, drawing.height)


@pytest.mark.django_db
def test_a_drawing_shows_states_needs_and_what_another_run_does() -> None:
    rows = Rows("north")
    first = rows.ask("count")
    assert first is not None
    rows.finish(job(first, "extract"))
    second = rows.ask("chart")
    assert second is not None
    drawing = pipeline_of(second).drawing
    assert drawing is not None
    found = {box.action: (box.state, box.needs, box.elsewhere) for box in drawing.boxes}
    assert found == {
        "count": (State.PENDING, (), first.request_id),
        "chart": (State.PENDING, ("count",), None),
    }
    assert len(drawing.lines) == 1


@pytest.mark.django_db
def test_a_long_chain_goes_down_instead_of_off_the_page() -> None:
    rows = Rows("north")
    names = [f"step_{number}" for number in range(9)]
    needs = {name: (names[number - 1],) if number else () for number, name in enumerate(names)}
    request = rows.ask("run_all", needs=needs)
    assert request is not None
    drawing = pipeline_of(request).drawing
    assert drawing is not None
    assert drawing.width < drawing.height
    short = rows.ask("run_all", needs=NEEDS, branch="short")
    assert short is not None
    other = pipeline_of(short).drawing
    assert other is not None
    assert other.width > other.height


@pytest.mark.django_db
def test_what_is_too_broad_to_look_at_is_listed() -> None:
    rows = Rows("north")
    request = rows.ask("run_all", needs=wide(MAX_BREADTH + 4))
    assert request is not None
    found = pipeline_of(request)
    assert found.drawing is None
    assert (len(found.steps), found.more) == (MAX_BREADTH + 4, 0)


@pytest.mark.django_db
def test_what_is_too_large_to_draw_is_listed_in_running_order() -> None:
    rows = Rows("north")
    needs = wide(MAX_LISTED + 30)
    request = rows.ask("run_all", needs=needs)
    assert request is not None
    found = pipeline_of(request)
    assert found.drawing is None
    assert (len(found.steps), found.more) == (MAX_LISTED, 30)
    place = {step.action: number for number, step in enumerate(found.steps)}
    assert all(place[need] < place[name] for name in place for need in needs[name])
