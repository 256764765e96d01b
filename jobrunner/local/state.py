"""`.jobrunner/` in the work tree: records, logs, and what is on its way into the tree.

    .jobrunner/.gitignore           all of it stays out of git
    .jobrunner/actions/<action>.json
    .jobrunner/logs/<action>.log
    .jobrunner/collected/           run folders of actions that are being collected

A study that was cloned may bring a folder of this name, so no link in it is followed.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobrunner.local import records
from jobrunner.local.problems import LocalProblem
from jobrunner.local.records import Record, RecordUnreadable
from jobrunner.local.study_files import STATE_FOLDER
from jobrunner.privacy import durable

_FOLDERS: Final = ("actions", "logs", "collected")
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class State:
    """The folder below one work tree. Nothing is made before `locked`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / STATE_FOLDER
        # Only who holds the lock writes, so what was read or written here stays true.
        self._known: dict[str, Record | None] = {}
        self.collected = self.folder / "collected"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other runs away from it. Raises LocalProblem (busy, state)."""
        try:
            self._make()
            lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise LocalProblem("state", f"{self.folder} cannot be used: {error.strerror}.") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalProblem(
                    "busy", "Another `jobrunner run` is at work in this folder. Wait until it has ended."
                ) from None
            self._empty_collected()
            try:
                yield
            finally:
                self._empty_collected()
        finally:
            os.close(lock)

    def record(self, action: str) -> Record | None:
        """What is remembered of the action; None when nothing is. Raises RecordUnreadable."""
        if action not in self._known:
            self._known[action] = self._read(action)
        return self._known[action]

    def _read(self, action: str) -> Record | None:
        for folder in (self.folder, self.folder / "actions"):
            if folder.is_symlink():
                raise RecordUnreadable(f"{folder.name} is a link")
        try:
            descriptor = os.open(self._record(action), _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordUnreadable("it cannot be opened") from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RecordUnreadable("it is no file")
            return records.load(file.read(records.MOST_BYTES + 1), action)

    def write(self, record: Record) -> None:
        """Remember, whole or not at all. Raises OSError."""
        place = self._record(record.action)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        durable.write_new(place, records.dump(record), 0o644)
        self._known[record.action] = record

    def log(self, action: str) -> Path:
        """Where the log of the action's last try lies."""
        return self.folder / "logs" / f"{action}.log"

    def keep_log(self, action: str, log: Path) -> None:
        """Make `log` the one of the action's last try. Raises OSError."""
        place = self.log(action)
        log.chmod(0o644)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        log.replace(place)

    def _record(self, action: str) -> Path:
        return self.folder / "actions" / f"{action}.json"

    def _make(self) -> None:
        for folder in (self.folder, *(self.folder / name for name in _FOLDERS)):
            if folder.is_symlink():
                raise LocalProblem(
                    "state", f"{folder} is a link, which jobrunner does not follow; remove it."
                )
            folder.mkdir(exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            durable.write_new(ignore, b"*\n", 0o644)

    def _empty_collected(self) -> None:
        for entry in self.collected.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
