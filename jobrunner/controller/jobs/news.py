"""Tells this process that it has committed job events, as soon as it has.

What other processes commit is not heard here; who listens must also look from time to time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.db import transaction

_LISTENING: Final[set[Callable[[], object]]] = set()


@contextmanager
def listen(called: Callable[[], object]) -> Iterator[None]:
    """Have `called` run after each commit that appended job events, for as long as the block lasts.

    It runs in the thread that committed, so it must be quick and must not raise.
    """
    _LISTENING.add(called)
    try:
        yield
    finally:
        _LISTENING.discard(called)


def appended() -> None:
    """Note, in the current transaction, that it appends job events."""
    transaction.on_commit(_tell, robust=True)


def _tell() -> None:
    for called in tuple(_LISTENING):
        called()
