"""A gzip file whose bytes follow from its content alone, on every machine.

Compressors differ: zlib and zlib-ng make different files of one text. So the text is stored, not compressed
(RFC 1951 section 3.2.4), in a frame without name and time (RFC 1952 section 2.3). Every gzip reader takes it.
"""

import struct
import zlib
from types import TracebackType
from typing import BinaryIO, Final, Self

_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_MOST_IN_A_BLOCK: Final = 0xFFFF
_LAST_EMPTY_BLOCK: Final = b"\x01\x00\x00\xff\xff"


class StoredGzip:
    """Takes bytes and writes them to `file` in blocks; the end is written when the context ends well."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting = bytearray()
        self._checksum = 0
        self._size = 0
        file.write(_HEADER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end()

    def write(self, data: bytes) -> int:
        """Take some bytes. How they are cut into calls does not show in the file."""
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._waiting += data
        whole = len(self._waiting) - len(self._waiting) % _MOST_IN_A_BLOCK
        for begin in range(0, whole, _MOST_IN_A_BLOCK):
            self._store(bytes(self._waiting[begin : begin + _MOST_IN_A_BLOCK]))
        del self._waiting[:whole]
        return len(data)

    def _store(self, data: bytes) -> None:
        self._file.write(struct.pack("<BHH", 0, len(data), len(data) ^ 0xFFFF) + data)

    def _end(self) -> None:
        if self._waiting:
            self._store(bytes(self._waiting))
        self._file.write(_LAST_EMPTY_BLOCK + struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))
