"""The part of the front page, made once for all who watch it: at every change they all ask at once.

It is made anew as soon as any job has changed, and after five seconds in any case, since some sentences
change with time alone.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpResponse

from jobrunner.controller.jobs.models import JobEvent

_KEPT_S: Final = 5.0


class SharedPart:
    """Keeps one answer. Who asks while it is being made waits for it instead of making another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: int | None = None
        self._until = 0.0
        self._content = b""

    def get(self, make: Callable[[], HttpResponse]) -> HttpResponse:
        """The answer as it was made since the last change, else what `make` gives."""
        newest = JobEvent.objects.order_by("-pk").values_list("pk", flat=True).first()
        with self._lock:
            if newest != self._newest or time.monotonic() >= self._until:
                self._content = make().content
                self._newest = newest
                self._until = time.monotonic() + _KEPT_S
            return HttpResponse(self._content)
