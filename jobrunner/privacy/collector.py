"""The process that walks what a job wrote: threats.md section 4 items 2 to 6.

Forked by `launcher.py` for `collect.py`, with SOCKET, UID and GID. It drops to the job's
uid before it is given the job's folder or hears a pattern, so that even a bug in here reads only what the
job could. It hands (path, open file) over; the agent trusts neither.
"""

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.privacy import confine, frames, names
from jobrunner.privacy.beneath import OPEN_FILE, OPEN_FOLDER

if TYPE_CHECKING:
    from jobrunner.pipeline.patterns import PatternSet

# Names of files that no pattern matches, sent as hints for "looks alike"; no more than a person reads.
_MOST_OTHERS = 500
_RIGHTS = {"CORE": 0, "FSIZE": 0, "NOFILE": 128, "AS": 1 << 30}

#: The agent answers when it has taken so many files more; up to twice as many are on their way to it.
#: The kernel counts open files that are on their way against our limit.
FILES_PER_ANSWER = 8


class TooMuch(Exception):
    """A cap was reached; the text says which."""


def main(arguments: list[str]) -> int:
    """Confine this process, then answer the one request that comes over the socket."""
    socket_fd, uid, gid = (int(argument) for argument in arguments)
    connection = socket.socket(fileno=socket_fd)
    pattern_set = load_patterns()
    confine.drop_to(uid, gid)
    confine.die_with_parent()
    confine.limit(_RIGHTS)
    frames.send(connection, {"confined": True})
    request = frames.receive(connection)
    if request is None or request[1] is None:
        return 1
    handed = HandedOver(connection)
    why = why_stopped(handed, request[1], request[0], pattern_set)
    handed.wait_for_answers()
    if why is not None:
        frames.send(connection, {"refused": "", "why": why})
    frames.send(connection, {"end": True})
    return 0


class HandedOver:
    """The agent's end of `connection`, and how many files went there that it has not answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._unanswered = 0

    def hand_over(self, path: str, fd: int) -> None:
        """Send one file, and wait where too many are on their way."""
        frames.send(self.connection, {"file": path}, fd)
        self._unanswered += 1
        if self._unanswered == 2 * FILES_PER_ANSWER:
            self._wait()

    def wait_for_answers(self) -> None:
        """Return when no answer will come any more."""
        while self._unanswered >= FILES_PER_ANSWER:
            self._wait()

    def _wait(self) -> None:
        if frames.receive(self.connection) is None:
            raise SystemExit(1)
        self._unanswered -= FILES_PER_ANSWER


def why_stopped(
    handed: HandedOver, root_fd: int, request: Mapping[str, Any], pattern_set: "type[PatternSet]"
) -> str | None:
    """Walk, and return why it stopped early, or None. Returning frees what the walk held in memory."""
    try:
        _walk(handed, root_fd, request, pattern_set(request["patterns"]))
    except TooMuch as cap:
        return str(cap)
    except MemoryError:
        return "its files and folders take more memory than there is to walk them"
    except OSError as error:
        return f"the work folder cannot be read ({_word(error)})"
    return None


@cache
def load_patterns() -> "type[PatternSet]":
    """The class, from its module alone: its package brings a YAML parser, which has no business in here."""
    package = find_spec("jobrunner.pipeline")
    if package is None or package.origin is None:
        raise ImportError("jobrunner.pipeline is not installed")
    spec = spec_from_file_location("jobrunner_patterns", Path(package.origin).with_name("patterns.py"))
    if spec is None or spec.loader is None:
        raise ImportError("jobrunner.pipeline.patterns is not installed")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[PatternSet] = module.PatternSet
    return found


def _walk(handed: HandedOver, root_fd: int, request: Mapping[str, Any], patterns: "PatternSet") -> None:
    connection = handed.connection
    device = os.fstat(root_fd).st_dev
    matched = 0
    others = 0
    for path, name, folder_fd, found in _entries(root_fd, patterns, request):
        is_match = not names.is_reserved(path) and bool(patterns.matching(path))
        if not stat.S_ISREG(found.st_mode):
            reachable = not names.is_reserved(path) and patterns.could_contain(path)
            if stat.S_ISDIR(found.st_mode):
                if found.st_dev != device and reachable:
                    frames.send(connection, {"odd": path, "why": "is on another file system"})
            elif is_match or reachable:
                frames.send(connection, {"odd": path, "why": _kind(found)})
            continue
        if not is_match:
            if others < _MOST_OTHERS:
                others += 1
                frames.send(connection, {"other": path})
            continue
        matched += 1
        if matched > request["files"]:
            raise TooMuch(f"more than {request['files']} files match")
        _hand_over(handed, path, name, folder_fd, found, device)


def _entries(
    root_fd: int, patterns: "PatternSet", caps: Mapping[str, Any]
) -> Iterator[tuple[str, str, int, os.stat_result]]:
    """Every entry of every folder that a pattern can reach: (path, name, fd of its folder, its lstat)."""
    most, deepest, room = caps["entries"], caps["depth"], caps["waiting_bytes"]
    device = os.fstat(root_fd).st_dev
    seen = 0
    held = 0  # bytes of memory: a path of 4 KiB in UTF-8 may take 16 KiB here
    waiting: list[tuple[str, tuple[int, int] | None]] = [("", None)]
    while waiting:
        prefix, expected = waiting.pop()
        held -= sys.getsizeof(prefix) if prefix else 0
        folder_fd = _open_folder(root_fd, prefix, expected)
        try:
            with os.scandir(folder_fd) as listing:
                found_names = []
                listed = 0
                for entry in listing:
                    seen += 1
                    if seen > most:
                        raise TooMuch(f"more than {most} files and folders")
                    listed += sys.getsizeof(entry.name)
                    if held + listed > room:
                        raise TooMuch(f"more than {room} bytes of names are waiting to be walked")
                    found_names.append(entry.name)
            for name in sorted(found_names):
                path = f"{prefix}{name}"
                try:
                    found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed since it was listed: as if it had never been there
                yield path, name, folder_fd, found
                if stat.S_ISDIR(found.st_mode) and found.st_dev == device and patterns.could_contain(path):
                    if path.count("/") + 2 > deepest:
                        raise TooMuch(f"folders deeper than {deepest} levels")
                    below = f"{path}/"
                    held += sys.getsizeof(below)
                    if held + listed > room:
                        raise TooMuch(f"more than {room} bytes of paths are waiting to be walked")
                    waiting.append((below, (found.st_dev, found.st_ino)))
        finally:
            os.close(folder_fd)


def _open_folder(root_fd: int, prefix: str, expected: tuple[int, int] | None) -> int:
    folder_fd = os.open(".", OPEN_FOLDER, dir_fd=root_fd)
    for part in prefix.split("/")[:-1]:
        try:
            below = os.open(part, OPEN_FOLDER, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        folder_fd = below
    opened = os.fstat(folder_fd)
    if expected is not None and (opened.st_dev, opened.st_ino) != expected:
        os.close(folder_fd)
        raise TooMuch("a folder was swapped while it was read")
    return folder_fd


def _hand_over(
    handed: HandedOver, path: str, name: str, folder_fd: int, found: os.stat_result, device: int
) -> None:
    connection = handed.connection
    why = names.why_refused(path)
    if why is None and found.st_nlink != 1:
        why = "it has a second name (hard link)"
    if why is None and found.st_dev != device:
        why = "it is on another file system"
    if why is not None:
        frames.send(connection, {"refused": path, "why": why})
        return
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=folder_fd)
    except OSError as error:
        frames.send(connection, {"refused": path, "why": f"it cannot be opened ({_word(error)})"})
        return
    try:
        opened = os.fstat(fd)
        if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino):
            frames.send(connection, {"refused": path, "why": "it was swapped while it was read"})
            return
        handed.hand_over(path, fd)
    finally:
        os.close(fd)


def _kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if stat.S_ISFIFO(found.st_mode):
        return "is a pipe"
    if stat.S_ISSOCK(found.st_mode):
        return "is a socket"
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        return "was deleted by the job"  # the mark that an overlay leaves
    return "is a device"


def _word(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "error")
