"""The parts of pages, each made once for all who watch it: at every change they all ask at once.

A part is made anew as soon as any job has changed, and after five seconds in any case, since some sentences
change with time alone.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial, wraps
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from jobrunner.controller.jobs.models import JobEvent

MOST: Final = 100
_KEPT_S: Final = 5.0


class SharedPart:
    """Keeps one answer. Who asks while it is being made waits for it instead of making another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = -1
        self._until = 0.0
        self._content = b""

    def get(self, make: Callable[[], HttpResponse]) -> HttpResponse:
        """The answer as it was made since the last change, else what `make` gives; only a 200 is kept."""
        newest = JobEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        with self._lock:
            if newest > self._newest or time.monotonic() >= self._until:
                made = make()
                if made.status_code != 200:
                    return made
                self._content = made.content
                self._newest = newest
                self._until = time.monotonic() + _KEPT_S
            return HttpResponse(self._content)


class SharedParts:
    """The parts by their addresses: the hundred that were asked for last, since anybody can ask for any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: OrderedDict[str, SharedPart] = OrderedDict()

    def at(self, address: str) -> SharedPart:
        """The part at an address, which is a path with its query."""
        with self._lock:
            found = self._parts.setdefault(address, SharedPart())
            self._parts.move_to_end(address)
            if len(self._parts) > MOST:
                self._parts.popitem(last=False)
            return found


PARTS: Final = SharedParts()


def shared(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view that gives only the part of a page that changes while somebody looks at it."""

    @require_safe
    @wraps(view)
    def part(request: HttpRequest, **place: str) -> HttpResponse:
        return PARTS.at(request.get_full_path()).get(partial(view, request, part=True, **place))

    return part
