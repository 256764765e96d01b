"""Bombs as actions of a study on a whole agent, beside a neighbour that must not suffer (row S04; S08).

threats.md: out_of_memory, out_of_disk, out_of_time or nonzero_exit as fits; the agent answers in 2 s; where
slots fit the host, a neighbour takes at most 1.5 times its time alone. The two places have half a core each,
so that they fit a machine that is busy otherwise. How each limit acts is in test_S_limits.py.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.fixtures.beside import CANARY, HEAD, Beside, Measured
from tests.fixtures.world import World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]
pytest_plugins = ["tests.fixtures.engine"]

MOST_RATIO: Final = 1.5
MOST_ANSWER_S: Final = 2.0
# A limit that does not hold fails each time; something else that this machine does, only now and then.
TRIES: Final = 3

LIMITS: Final = (
    "slots = 2", "cores = 0.5", "pids = 64", "memory_mib = 320",
    "disk_mib = 64", "inodes = 2000", "wall_clock_s = 4", "stop_s = 1",
)  # fmt: skip

# Words of the canary, and how the attempt ends. Most run again and again for a second.
BOMBS: Final = {
    "forks": ("again 1 forks 2000", "nonzero_exit"),
    "threads": ("again 1 threads 2000", "nonzero_exit"),
    "inodes": ("again 1 files /workspace 20000", "out_of_disk"),
    "disk": ("again 1 fill /workspace/big 300", "out_of_disk"),
    "terabyte": ("again 1 sparse /workspace/huge", "nonzero_exit"),
    "shm": ("again 1 fill /dev/shm/big 300", "nonzero_exit"),
    "memory": ("again 1 memory 600", "out_of_memory"),
    "descriptors": ("again 1 descriptors 9000", "nonzero_exit"),
    "core": ("again 1 core", "nonzero_exit"),
    "queues": ("again 1 queues", "nonzero_exit"),
    "tmp": ("again 1 fill /tmp/big 600", "out_of_memory"),
    "tmp_files": ("again 1 files /tmp 100000", "nonzero_exit"),
    "processor": ("spin 60", "out_of_time"),
    "log_lines": ("lines 2048", "out_of_time"),
    "log_line": ("line 2048", "out_of_time"),
    "deaf": ("stubborn 60", "out_of_time"),
}


@dataclass(frozen=True, slots=True)
class Bombed:
    """What came of it: every try of each bomb, how the neighbour's jobs ended, and the twin's ratio."""

    tries: Mapping[str, list[Measured]]
    neighbours: Collection[str]
    held_up: float


@pytest.fixture(scope="module")
def bombed(
    engine: Any, python_v2_image: str, canary_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Bombed:
    """Every bomb, tried until its neighbour was on time and the agent answered, or TRIES times.

    A table of it is left in the folder of the test.
    """
    root = tmp_path_factory.mktemp("bombs")
    # The second has perl, which the start-up canary needs.
    images = {CANARY: canary_image, "r:v2": python_v2_image}
    with (
        World(root / "world", images, policy="\n".join(LIMITS), entrypoint=["/canary"]) as world,
        Beside(world, engine, {bomb: words for bomb, (words, _reason) in BOMBS.items()}) as beside,
    ):
        tries = {bomb: list(tried(beside, bomb)) for bomb in BOMBS}
        made = Bombed(tries, beside.neighbours_ended(), beside.held_up())
    table = [HEAD, *(found.line for several in tries.values() for found in several)]
    (root / "table.txt").write_text("\n".join(table) + "\n")
    return made


def tried(beside: Beside, bomb: str) -> Iterator[Measured]:
    for _ in range(TRIES):
        found = beside.measure(bomb)
        if found is not None:
            yield found
            if found.ratio <= MOST_RATIO and found.slowest_answer <= MOST_ANSWER_S:
                return


@pytest.mark.parametrize("bomb", BOMBS)
def test_S04_a_bomb_ends_for_its_reason_and_its_neighbour_is_on_time(bombed: Bombed, bomb: str) -> None:
    assert {found.reason for found in bombed.tries[bomb]} == {BOMBS[bomb][1]}
    assert min(found.ratio for found in bombed.tries[bomb]) <= MOST_RATIO
    assert min(found.slowest_answer for found in bombed.tries[bomb]) <= MOST_ANSWER_S


def test_S04_every_neighbour_of_a_bomb_ends_well(bombed: Bombed) -> None:
    assert len(bombed.neighbours) >= len(BOMBS) // 2
    assert set(bombed.neighbours) == {"completed"}


def test_S04_twin_a_neighbour_that_is_held_up_is_seen(bombed: Bombed) -> None:
    assert bombed.held_up > MOST_RATIO
