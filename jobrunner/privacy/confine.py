"""Giving up rights, for good, in a process that is about to read what a hostile job wrote.

Used by the collector and by the checking worker after all their imports. Only the standard library.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522

# Found now: after the change of uid the folder of the interpreter may be out of reach.
_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> None:
    """Move this process into a network namespace of its own, which leads nowhere. Needs root."""
    _require(_libc.unshare(ctypes.c_int(_CLONE_NEWNET)))


def drop_to(uid: int, gid: int) -> None:
    """Become `uid` and `gid` with no group and no capability, and never get any again.

    Without root the caller's own uid stays, and only the ban on new rights is added. Raises OSError when
    anything of it fails, and ValueError for uid or gid 0 when started as root.
    """
    if os.geteuid() == 0:
        if uid <= 0 or gid <= 0:
            raise ValueError("the collector and the checks never run as root")
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)
        _drop_capabilities()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. Call it after `drop_to`, which resets it."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def limit(limits: Mapping[str, int]) -> None:
    """Set soft and hard limits by their RLIMIT name without the prefix: {"NOFILE": 64}. Raises OSError."""
    for name, amount in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        wanted = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(number, (wanted, wanted))


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _require(_libc.capset(header, none))


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _require(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))


def _require(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
