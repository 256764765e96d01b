"""A job's log: our own lines in it, and the part that may enter the medium area (design.md section 6)."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

TAIL_BYTES = 1024 * 1024
_OURS = b"[jobrunner] "
# Whatever does not print before it cannot be seen: such a line looks like ours too.
_LOOKS_LIKE_OURS = re.compile(rb"^(?=[^\x21-\x7e\n]*\[jobrunner\])", re.M | re.I)
# C0 without tab, line feed and the CR before one; DEL and C1; bidi signs; the two line ends of Unicode.
_NOT_INERT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)"
)


def mark_look_alikes(log: Path) -> None:
    """Put `(job)` before each line of a saved log that looks like ours. None of ours may be in it yet."""
    said = log.read_bytes()
    marked = _LOOKS_LIKE_OURS.sub(b"(job) ", said)
    if marked != said:
        log.write_bytes(marked)


def append_ours(log: Path, lines: Iterable[str]) -> None:
    """Add lines of ours to the end of a saved log, each on a line of its own."""
    with log.open("r+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
        unfinished = file.read(1) not in (b"", b"\n")
        for line in lines:
            file.write(
                (b"\n" if unfinished else b"") + _OURS + line.encode("utf-8", "backslashreplace") + b"\n"
            )
            unfinished = False


def log_tail(log: Path | int) -> bytes:
    """The last 1 MiB of a log (path or open fd), beginning with a whole line where it had to be cut.

    What is checked and what is shown are both this, so that no byte is shown unchecked. A cut log of one
    line begins with the first whole character. Signs that command a terminal or turn the direction of text
    are written as escapes like `\\x1b`; what is no text stays as it is, and the rules keep it out.
    """
    return _inert(_cut(log))


def _inert(tail: bytes) -> bytes:
    # NUL is in no text: left alone, so that what is no text is still seen to be none.
    if b"\x00" in tail:
        return tail
    try:
        text = tail.decode("utf-8")
    except UnicodeDecodeError:
        return tail
    return _NOT_INERT.sub(lambda found: ascii(found[0])[1:-1], text).encode("utf-8")


def _cut(log: Path | int) -> bytes:
    fd = log if isinstance(log, int) else os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        start = max(0, size - TAIL_BYTES)
        tail = b""
        while piece := os.pread(fd, TAIL_BYTES - len(tail), start + len(tail)):
            tail += piece
    finally:
        if not isinstance(log, int):
            os.close(fd)
    if start == 0:
        return tail
    line_end = tail.find(b"\n")
    if line_end >= 0:
        return tail[line_end + 1 :]
    # 10xxxxxx: the rest of a character whose beginning was cut off
    return tail.lstrip(bytes(range(0x80, 0xC0)))
