"""What a look at the queue costs the controller, with 100,000 jobs that have ended: in process, on SQLite.

There is no floor: nothing smaller does the same. The goals are absolute.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Measurement, scratch

if TYPE_CHECKING:
    from tests.fixtures.controller_rows import Rows

_FINISHED: Final = 100_000
_PLACES: Final = 16


@contextmanager
def _queue(active: int, *, fresh: bool) -> Iterator["Rows"]:
    """A controller's rows in a file of their own; its agent has 16 free places."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobrunner.controller.settings")
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from jobrunner.controller.projects.models import Backend
    from tests.fixtures.controller_many import fill
    from tests.fixtures.controller_rows import Rows

    with scratch() as folder:
        connection.close()
        connection.settings_dict["NAME"] = Path(folder) / "controller.sqlite3"
        try:
            call_command("migrate", interactive=False, verbosity=0)
            rows = Rows()
            fill(rows, finished=_FINISHED, active=active, fresh=fresh)
            Backend.objects.update(free_db=_PLACES, free_plain=_PLACES)
            yield rows
        finally:
            connection.close()


def _looks(rows: "Rows", runs: int) -> list[float]:
    """Seconds of each look; what one changes is taken back, so that each sees the same."""
    from django.db import transaction

    from jobrunner.controller.api.agent_calls import look
    from jobrunner.sync.messages import Poll, Slots

    poll = Poll(accepting=True, slots=Slots(db=_PLACES, plain=_PLACES))
    seconds = []
    for _ in range(runs):
        with transaction.atomic():
            began = time.perf_counter()
            reply, _ = look(rows.backend.pk, poll, rows.terms)
            seconds.append(time.perf_counter() - began)
            transaction.set_rollback(True)
        if len(reply.offers) != _PLACES:
            raise RuntimeError(f"{len(reply.offers)} offers were made instead of {_PLACES}")
    return seconds


def poll_100k(runs: int = 200) -> Measurement:
    """One look for a waiting poll: 5,000 active jobs of which each says why it waits, 100,000 ended."""
    with _queue(5000, fresh=False) as rows:
        seconds = _looks(rows, runs)
    return Measurement("poll_100k", "one look of a poll, 100,000 ended jobs", seconds, (), "at most 5 ms")


def schedule_1k(runs: int = 50) -> Measurement:
    """One pass over 1,000 active jobs that nobody has looked at: offers, and why the others wait."""
    return _schedule("schedule_1k", 1000, runs)


def schedule_5k(runs: int = 50) -> Measurement:
    """One pass over 5,000 active jobs that nobody has looked at; it says of 500 at once why they wait."""
    return _schedule("schedule_5k", 5000, runs)


def _schedule(name: str, active: int, runs: int) -> Measurement:
    with _queue(active, fresh=True) as rows:
        seconds = _looks(rows, runs)
    what = f"scheduling pass, {active:,} new active jobs, 100,000 ended"
    return Measurement(name, what, seconds, (), "linear in active jobs")
