"""Fixtures of the whole-way tests: a world on loopback with the real image."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.world import World


@pytest.fixture
def make_world(tmp_path: Path, python_v2_image: str) -> Iterator[Callable[..., World]]:
    """make_world(policy="slots = 2") -> a World whose controller answers; the agent is not started yet."""
    with ExitStack() as stack:

        def make(images: Mapping[str, str] | None = None, **fields: Any) -> World:
            root = tmp_path / f"world-{len(list(tmp_path.iterdir()))}"
            root.mkdir()
            world = World(root, images={"python:v2": python_v2_image, **(images or {})}, **fields)
            return stack.enter_context(world)

        yield make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One world with nothing special about it."""
    return make_world()
