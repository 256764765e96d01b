"""Read objects of a mirror, and believe none of them before its hash was computed again.

The commit id is what was approved. Commit, trees and blobs are each compared with their own hash, so the
bytes that come out follow from that id alone, whatever the mirror, its configuration or git may have done.
threats.md section 5 items 9 and 10.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import MirrorBroken, TreeRefused
from jobrunner.study.git_process import kill_group, start_git
from jobrunner.study.git_settings import local_environment, local_options
from jobrunner.study.mirror_files import mark_broken
from jobrunner.study.rules import MIB, Limits

Kind = Literal["commit", "tree", "blob", "tag"]
# Requests on their way at one time: 64 of 50 bytes fit into the smallest pipe there is, so that we never
# wait for git to read while git waits for us to read.
WINDOW = 64
_MAX_HEADER_BYTES = 200
_MAX_COMMIT_BYTES = 1 * MIB
_CHUNK_BYTES = 1 * MIB
# A tag may name another tag; nobody needs more of them in a row.
_MAX_TAGS = 5
_TAG_TARGET = re.compile(rb"object ([0-9a-f]{40})")


class ObjectReader:
    """One `git cat-file` over one mirror, as a context manager. Not for several threads at once.

    A mirror that turns out to be damaged is marked, so that `Mirrors` makes it again at its next use.

    Raises:
        Stopped: the deadline's stop was asked.
        MirrorBroken: an object is missing, or its bytes do not have its hash.
        TreeRefused: an object is larger than allowed; or (`timeout`) the site's time limit is over.
        Unreachable: the caller's time is over.
    """

    def __init__(self, mirror: Path, limits: Limits, deadline: Deadline) -> None:
        self._mirror = mirror
        self._deadline = deadline
        self._process = start_git(
            mirror,
            local_options(),
            ["cat-file", "--batch-command"],
            environment=local_environment(),
            limits=limits,
            pipes=True,
        )
        self._killing = threading.Lock()
        self._timer = threading.Timer(deadline.left, self._kill)
        self._timer.daemon = True
        self._stoppable = deadline.stop.calling(self._kill)

    def __enter__(self) -> ObjectReader:
        self._timer.start()
        self._stoppable.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stoppable.__exit__(None, None, None)
        self._timer.cancel()
        self._timer.join()
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # A request that git never took is still in the buffer.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def kind(self, object_id: str) -> str | None:
        """Type of the object, or None when the mirror does not hold it."""
        self._ask("info", [object_id])
        header = self._header()
        return None if header[-1] == "missing" else header[1]

    def id_of(self, ref: str) -> str | None:
        """Id of what a ref of the mirror points at, or None when there is no such ref."""
        self._ask("info", [ref])
        header = self._header()
        return None if header[-1] == "missing" else header[0]

    def tree_of(self, commit: str) -> str:
        """Id of the root tree of `commit`."""
        first = self.read(commit, "commit", _MAX_COMMIT_BYTES).partition(b"\n")[0]
        word, _, tree = first.partition(b" ")
        if word != b"tree" or len(tree) != 40:
            raise self._broken(commit)
        return tree.decode("ascii")

    def commit_of(self, object_id: str) -> str | None:
        """Id of the commit that this object is, or names as a tag; None when it names another thing."""
        for _ in range(_MAX_TAGS + 1):
            kind = self.kind(object_id)
            if kind is None:
                raise self._broken(object_id)
            if kind != "tag":
                return object_id if kind == "commit" else None
            first = self.read(object_id, "tag", _MAX_COMMIT_BYTES).partition(b"\n")[0]
            target = _TAG_TARGET.fullmatch(first)
            if target is None:
                raise self._broken(object_id)
            object_id = target[1].decode("ascii")
        return None

    def read(self, object_id: str, kind: Kind, limit: int) -> bytes:
        """The whole object, at most `limit` bytes."""
        parts: list[bytes] = []
        self.request([object_id])
        self.answer(object_id, kind, limit, parts.append)
        return b"".join(parts)

    def request(self, object_ids: Iterable[str]) -> None:
        """Ask for at most `WINDOW` objects, to be taken with `answer` in the same order."""
        self._ask("contents", object_ids)

    def answer(self, object_id: str, kind: Kind, limit: int, write: Callable[[bytes], object]) -> int:
        """Hand the bytes of the next object to `write`, piece by piece; returns their number.

        The hash is known only at the end: what was written counts for nothing when this raises.
        """
        header = self._header()
        if len(header) != 3 or header[:2] != [object_id, kind] or not header[2].isdecimal():
            raise self._broken(object_id)
        size = int(header[2])
        if size > limit:
            raise TreeRefused(
                "too_large", f"The {kind} {object_id} has {size:,} bytes; {limit:,} are allowed."
            )
        digest = hashlib.sha1(f"{kind} {size}\0".encode("ascii"), usedforsecurity=False)
        left = size
        while left:
            piece = self._output.read(min(left, _CHUNK_BYTES))
            if not piece:
                raise self._ended(object_id)
            left -= len(piece)
            digest.update(piece)
            write(piece)
        if digest.hexdigest() != object_id or self._output.read(1) != b"\n":
            raise self._broken(object_id)
        return size

    def _kill(self) -> None:
        # The deadline, the stop and the end of the block may come at the same moment, each in its own thread.
        with self._killing:
            kill_group(self._process)

    @property
    def _output(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise RuntimeError("git cat-file was started without pipes")
        return self._process.stdout

    def _ask(self, command: str, object_ids: Iterable[str]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("git cat-file was started without pipes")
        lines = "".join(f"{command} {object_id}\n" for object_id in object_ids)
        try:
            self._process.stdin.write(lines.encode("ascii"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended("the next object") from None

    def _header(self) -> list[str]:
        line = self._output.readline(_MAX_HEADER_BYTES)
        if not line.endswith(b"\n"):
            raise self._ended("the next object")
        return line.decode("ascii", "replace").split()

    def _ended(self, what: str) -> Exception:
        """Git ended in the middle: for the deadline, for the stop, or since it found the mirror damaged."""
        self._deadline.stop.check()
        if self._deadline.left <= 0:
            return self._deadline.error("Reading the commit")
        return self._broken(what)

    def _broken(self, what: str) -> MirrorBroken:
        mark_broken(self._mirror)
        return MirrorBroken(f"The local mirror does not hold {what} as it should. It is fetched again.")
