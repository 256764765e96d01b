"""A hint to the file system: the folders within this one have nothing to do with each other.

ext4 makes a folder close to the one that it lies in, and a file close to its folder. Without a journal it
also passes, one by one and for minutes, over the places of files that were just removed: 1,000 outputs then
take up to a second longer. With the hint of `chattr +T` each run begins elsewhere.
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOP_OF_HIERARCHIES: Final = 0x00020000
# The kernel reads and writes 32 bits, though its numbers say 64.
_FLAGS: Final = struct.Struct("I4x")


def spread(folder: Path) -> None:
    """Have new folders within `folder` made far from each other, where the file system knows of it.

    Raises OSError where there is no such folder.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Without the hint all works as before.
        with suppress(OSError):
            (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET_FLAGS, bytes(_FLAGS.size)))
            fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(flags | _TOP_OF_HIERARCHIES))
    finally:
        os.close(fd)
