"""The agent's half of the conversation with the collector: nothing that it says is relied on.

threats.md section 4 items 4 to 8. The name, the patterns, the kind of file, and that this path leads to this
inode are looked at again here before a byte is copied.
"""

import os
import socket
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobrunner.pipeline.patterns import PatternSet
from jobrunner.privacy import frames, names
from jobrunner.privacy.alike import shown
from jobrunner.privacy.beneath import open_beneath
from jobrunner.privacy.collector import FILES_PER_ANSWER
from jobrunner.privacy.copying import Changed, Copied, copy_hashed
from jobrunner.privacy.levels import most_sensitive
from jobrunner.privacy.outputs import CollectedFile, CollectLimits, OutputsRefused, Untouched
from jobrunner.privacy.runs import RunFolder

_MOST_NOTES = 200


@dataclass(slots=True)
class Heard:
    """What a conversation has brought so far."""

    files: list[CollectedFile] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    total_bytes: int = 0


class Conversation:
    """Talks to one collector. `state` holds what came of it."""

    def __init__(
        self,
        root_fd: int,
        wanted: PatternSet,
        levels: Mapping[str, Sequence[str]],
        into: RunFolder,
        inputs: frozenset[str],
        untouched: Mapping[str, Untouched],
        limits: CollectLimits,
        kept: Callable[[CollectedFile], None] = lambda _file: None,
        still_wanted: Callable[[], object] = lambda: None,
    ) -> None:
        self.root_fd = root_fd
        self.device = os.fstat(root_fd).st_dev
        self.wanted = wanted
        self.levels = levels
        self.into = into
        self.inputs = inputs
        self.untouched = untouched
        self.limits = limits
        self.kept = kept
        self.still_wanted = still_wanted
        self.state = Heard()
        self._folders: set[Path] = set()
        self.deadline = time.monotonic() + limits.seconds

    def run(self, connection: socket.socket) -> None:
        """Ask for the files and keep each one, until the collector has no more or the attempt is lost.

        Raises BrokenConversation. Refusals are kept in `state`.
        """
        limits = self.limits
        request = {
            "patterns": list(self.levels),
            "entries": limits.entries,
            "waiting_bytes": limits.waiting_bytes,
            "depth": limits.depth,
            "files": limits.files + len(self.untouched),
        }
        frames.send(connection, request, self.root_fd)
        heard, files = 0, 0
        while True:
            received = frames.receive(connection, self.still_wanted)
            if received is None:
                raise frames.BrokenConversation("the collector ended early")
            heard += 1
            message, fd = received
            try:
                self.keep_going()
                if "end" in message:
                    return
                if heard > limits.entries + 2:
                    raise frames.BrokenConversation("the collector does not stop")
                self._take(message, fd)
            except OutputsRefused as refusal:
                # Going on would only cost time: nothing of this attempt will be kept.
                self.state.refused.extend(refusal.refused)
                return
            finally:
                if fd is not None:
                    os.close(fd)
            if fd is not None:
                files += 1
                if files % FILES_PER_ANSWER == 0:
                    frames.send(connection, {})

    def keep_going(self) -> None:
        """Raise OutputsRefused when the time for collecting is over, or what `still_wanted` raises."""
        self.still_wanted()
        if time.monotonic() > self.deadline:
            raise OutputsRefused([("", f"collecting took longer than {self.limits.seconds:g} seconds")])

    def _take(self, message: Mapping[str, object], fd: int | None) -> None:
        state = self.state
        if "file" in message and fd is not None:
            path = str(message["file"])
            why = self._examine(path, fd)
            if why is None and not self._is_untouched(path, fd):
                why = self._keep(path, fd)
            if why is not None:
                state.refused.append((path, why))
        elif "refused" in message:
            state.refused.append((str(message["refused"]), str(message.get("why"))))
            if len(state.refused) >= _MOST_NOTES:
                raise OutputsRefused([("", f"{_MOST_NOTES} files were refused, and no more were looked at")])
        elif "odd" in message:
            if len(state.oddities) < _MOST_NOTES:
                state.oddities.append(
                    f"{shown(str(message['odd']))} {message.get('why')}; it was not collected."
                )
        elif "other" in message:
            # What was put there before the job began is no file that it wrote under another name.
            if message["other"] not in self.untouched:
                state.others.append(str(message["other"]))
        else:
            raise frames.BrokenConversation("the collector sent an unknown message")

    def _examine(self, path: str, fd: int) -> str | None:
        """Why this file may not be kept. Nothing that the collector said is relied on."""
        why = names.why_refused(path)
        if why is not None:
            return why
        if names.is_reserved(path):
            return "it lies in the folder `metadata`"
        if not self.wanted.matching(path):
            return "no pattern matches it"
        if path.count("/") + 1 > self.limits.depth:
            return f"it lies deeper than {self.limits.depth} levels"
        if path in self.state.paths:
            return "it was found twice"
        self.state.paths.add(path)
        opened = os.fstat(fd)
        if not stat.S_ISREG(opened.st_mode):
            return "it is no regular file"
        if opened.st_dev != self.device:
            return "it is on another file system"
        if opened.st_nlink != 1:
            return "it has a second name (hard link)"
        if _has_bytes_elsewhere(fd):
            return "only its attributes were changed, its bytes are not in the work folder"
        return self._leads_to(path, opened)

    def _leads_to(self, path: str, opened: os.stat_result) -> str | None:
        try:
            again = open_beneath(self.root_fd, path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW)
        except OSError:
            return "it was swapped while it was read"
        try:
            walked = os.fstat(again)
        finally:
            os.close(again)
        if (walked.st_dev, walked.st_ino) != (opened.st_dev, opened.st_ino):
            return "it was swapped while it was read"
        return None

    def _is_untouched(self, path: str, fd: int) -> bool:
        staged = self.untouched.get(path)
        now = os.fstat(fd)
        return staged == Untouched(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)

    def _keep(self, path: str, fd: int) -> str | None:
        state = self.state
        if path in self.inputs:
            return "it is an input, and the job changed it"
        if len(state.files) >= self.limits.files:
            raise OutputsRefused([("", f"more than {self.limits.files} files match")])
        state.total_bytes += os.fstat(fd).st_size
        if state.total_bytes > self.limits.total_bytes:
            raise OutputsRefused(
                [(path, f"the outputs are larger than {self.limits.total_bytes} bytes in all")]
            )
        if state.refused:
            return None  # the attempt is lost already: look at the rest, copy nothing
        stored = self.into.files / path
        try:
            if stored.parent not in self._folders:
                stored.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(stored.parent)
            copied = copy_hashed(fd, stored, self.keep_going)
        except Changed:
            return "it changed while it was read"
        except (FileExistsError, NotADirectoryError):
            return "it lies where another output lies"
        file = self._file(path, stored, copied)
        state.files.append(file)
        self.kept(file)
        return None

    def _file(self, path: str, stored: Path, copied: Copied) -> CollectedFile:
        found = sorted({level for pattern in self.wanted.matching(path) for level in self.levels[pattern]})
        level = most_sensitive(found)
        if len(found) > 1:
            self.state.notes.append(f"{shown(path)} is matched at two levels and was kept as {level}.")
        return CollectedFile(
            path, level, copied.sha256, copied.size, stored, copied.device, copied.inode, copied.mtime_ns
        )


def _has_bytes_elsewhere(fd: int) -> bool:
    """Whether an overlay copied up only the attributes of this file (metacopy): reading it gives zeros."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(fd, "trusted.overlay.metacopy")
    except OSError:
        return False
    return True
