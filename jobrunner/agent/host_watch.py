"""What must be in order on this machine before jobs are claimed: room on its disks, and its clock.

threats.md section 7. Both are looked at every few seconds; claims stop and go on by themselves.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from jobrunner.agent import clock, last_second
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.halts import Cause
from jobrunner.agent.journal import Journal
from jobrunner.agent.overview import time_text
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 5.0
_KEEP_EVERY_S: Final = 60
MOST_BEHIND_S: Final = 300


class HostWatch:
    """`folders` by the settings that name them; of each disk `least_percent` must be free."""

    def __init__(self, journal: Journal, desk: Desk, folders: Mapping[str, Path], least_percent: int) -> None:
        self._journal = journal
        self._desk = desk
        self._folders = folders
        self._least_percent = least_percent

    def run(self, finished: threading.Event) -> None:
        """Look until `finished`."""
        while not finished.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Exception:
                # A journal that cannot be written for now is one of the things that may be wrong.
                log.exception("watch_failed")

    def look(self) -> None:
        """Halt the desk for what is not in order, and lift what is again."""
        self._set(Cause.DISK, self._fault_of_disks())
        self._set(Cause.CLOCK, self._fault_of_clock())
        if Cause.DISK not in self._desk.halts:
            try:
                self._journal.reserve.keep()
            except OSError as problem:
                log.warning("no_reserve", problem=str(problem))

    def trust_clock(self) -> None:
        """The operator says that the clock is right as it is: later times in the journal were wrong."""
        now = clock.now()
        with self._journal.transaction() as connection:
            last_second.keep(connection, now)
        self._journal.note(
            Reason.SITE_POLICY.value, "clock", f"The operator said that the clock is right: {time_text(now)}."
        )
        self.look()

    def _set(self, cause: Cause, fault: str | None) -> None:
        if fault is None:
            if self._desk.lift(cause):
                log.warning("claims_go_on", cause=cause)
            return
        is_new = cause not in self._desk.halts
        self._desk.halt(cause, fault)
        if is_new:
            log.error("halted", cause=cause, problem=fault)
            reason, detail = _INCIDENTS[cause]
            self._journal.note(reason.value, detail, fault)

    def _fault_of_disks(self) -> str | None:
        for setting, folder in self._folders.items():
            free = free_percent(folder)
            if free < self._least_percent:
                return (
                    f"The disk of {setting} ({folder}) has {free:.1f} % free; jobs are claimed again from "
                    f"{self._least_percent} % on (host.least_free_percent). Free some space there."
                )
        return None

    def _fault_of_clock(self) -> str | None:
        now = clock.now()
        with self._journal.transaction() as connection:
            last = last_second.find(connection)
            if last is None or now >= last + _KEEP_EVERY_S:
                last_second.keep(connection, now)
        if last is None or now >= last - MOST_BEHIND_S:
            return None
        return (
            f"The clock of this machine says {time_text(now)} UTC, but the journal knows {time_text(last)}. "
            "Set the clock right; if it is right and was ahead before, run `jobrunner agent trust-clock`."
        )


_INCIDENTS: Final = {
    Cause.DISK: (Reason.INTERNAL_ERROR, "disk_low"),
    Cause.CLOCK: (Reason.SITE_POLICY, "clock"),
}


def free_percent(folder: Path) -> float:
    """How much of the folder's disk is free for everybody; 0 when that cannot be told."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 0.0
    return 100 * disk.f_bavail / disk.f_blocks if disk.f_blocks else 0.0
