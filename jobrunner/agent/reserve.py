"""Room on the disk that is the journal's alone: when nothing else is left, what runs can still be told.

threats.md section 7.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

SIZE: Final = 64 * 2**20
_NAME: Final = "reserve"
# The last is how SQLite says that it found no room for the index of its log.
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


class Reserve:
    """A file of SIZE bytes in the journal's folder, which holds their place on the disk."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _NAME

    def keep(self) -> None:
        """Take the room if it is not taken yet. Raises OSError when there is not so much."""
        if self._is_whole():
            return
        self._file.unlink(missing_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            self._file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def release(self) -> bool:
        """Give the room back to the disk; returns whether there was any to give."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        return True

    def _is_whole(self) -> bool:
        try:
            return self._file.lstat().st_size >= SIZE
        except FileNotFoundError:
            return False


def is_no_room(error: sqlite3.Error) -> bool:
    """Whether the journal could not be written because the disk is full."""
    return getattr(error, "sqlite_errorcode", None) in _NO_ROOM
