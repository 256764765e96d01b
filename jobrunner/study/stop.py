"""A wish from another thread that a piece of work ends now (threats.md section 8, P21)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """The work ended because it was asked to. Says nothing about the study."""


class Stop:
    """Asked once by any thread, it stays asked. The working thread looks at it, or sleeps on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._calls: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Have the work end; wakes whoever sleeps in `wait` and makes the calls of `calling`."""
        with self._lock:
            self._asked.set()
            for call in self._calls:
                call()

    @property
    def asked(self) -> bool:
        """Whether the work shall end."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raise Stopped when the work shall end."""
        if self.asked:
            raise Stopped

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, or until asked; returns whether that was asked."""
        return self._asked.wait(seconds)

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Have `ask` make this call for as long as the block lasts, at once if it was asked already.

        `call` runs in the asking thread. After the block none is being made.
        """
        with self._lock:
            self._calls.append(call)
            if self.asked:
                call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
