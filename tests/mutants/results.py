"""What was found out so far, kept in a file, so that a run that was interrupted goes on where it was."""

import fcntl
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.mutants.catalogue import Protection


class Results:
    """Outcomes by name and digest. What has another digest now was about another tree and does not count.

    Shards may run side by side on one file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read(file)

    def get(self, name: str, digest: str) -> dict[str, str] | None:
        """How the tests of `name` ended; None when that is not known."""
        found = self._known.get(name)
        return None if found is None or found["digest"] != digest else found["tests"]

    def keep(self, name: str, digest: str, tests: dict[str, str]) -> None:
        """Write it down at once."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._known = _read(self._file) | {name: {"digest": digest, "tests": tests}}
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(self._known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            partial.replace(self._file)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def digest_of(root: Path, protection: Protection, files: Iterable[str]) -> str:
    """Of all that the outcome hangs on: the entry, the whole product, and the test files it names."""
    digest = hashlib.sha256(repr(protection).encode())
    product = {path for path in (root / "jobrunner").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    changed = {path for change in protection.changes if (path := root / change.file).is_file()}
    fixtures = (root / "tests" / "fixtures").rglob("*.py")
    for path in sorted({*product, *changed, *fixtures, *(root / file for file in files)}):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
