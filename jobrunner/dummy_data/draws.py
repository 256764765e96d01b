"""Numbers that look random and follow from a seed, the same on every machine and with every Python.

They come from SHAKE-256, a published standard, and not from a library's generator, whose methods may give
other values in its next version. Nothing here is a secret.
"""

import hashlib
import json
import struct
from typing import Final

#: Rows that are drawn at a time. Part of what a seed means: another number gives other values.
BLOCK_ROWS: Final = 4096

_BITS: Final = 64
# As many bits as a float holds exactly.
_EXACT_BITS: Final = 53


def words(key: tuple[str | int, ...], count: int) -> tuple[int, ...]:
    """`count` numbers of 64 bits. Each key has a row of its own; a shorter one begins a longer one."""
    text = json.dumps(key, separators=(",", ":")).encode("ascii")
    return struct.unpack(f"<{count}Q", hashlib.shake_256(text).digest(8 * count))


def between(word: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return low + (word * (high - low + 1) >> _BITS)


def fraction(word: int) -> float:
    """A number from 0, included, to 1, not included."""
    return float(word >> (_BITS - _EXACT_BITS)) / (1 << _EXACT_BITS)
