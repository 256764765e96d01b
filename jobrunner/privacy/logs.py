"""The part of a job's log that may enter the medium area: its last 1 MiB (design.md section 6)."""

import os
from pathlib import Path

TAIL_BYTES = 1024 * 1024


def log_tail(log: Path | int) -> bytes:
    """The last 1 MiB of a log (path or open fd), beginning with a whole line where it had to be cut.

    What is checked and what is shown are both this, so that no byte is shown unchecked. A cut log of one
    line begins with the first whole character.
    """
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
