"""Opening a path below a folder that an attacker wrote, through no link: threats.md section 4 item 3.

openat2 does it in one call where the kernel has it. Elsewhere each component is opened by itself.
"""

import ctypes
import errno
import os
import struct
import sys

_SYS_OPENAT2 = 437
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08

# Without O_NONBLOCK the opening of a FIFO would wait for a writer for ever.
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def open_beneath(root_fd: int, path: str, flags: int) -> int:
    """Open `path` (relative, parts split by "/") below the folder `root_fd` and return the new fd.

    No part may be a link of any kind, ".." or on another file system. Raises OSError, and ValueError for a
    path that is absolute or has an empty part, "." or "..".
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("not a plain relative path")
    if _libc is not None:
        try:
            return _openat2(root_fd, path, flags)
        except OSError as error:
            # ENOSYS: an old kernel; EPERM: a seccomp filter that does not know the call.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    return _open_by_component(root_fd, parts, flags)


def _openat2(root_fd: int, path: str, flags: int) -> int:
    resolve = _RESOLVE_BENEATH
    resolve |= _RESOLVE_NO_SYMLINKS
    resolve |= _RESOLVE_NO_MAGICLINKS
    resolve |= _RESOLVE_NO_XDEV
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    if _libc is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fd = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root_fd), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(fd)


def _open_by_component(root_fd: int, parts: list[str], flags: int) -> int:
    device = os.fstat(root_fd).st_dev
    folder = os.dup(root_fd)
    try:
        for part in parts[:-1]:
            below = os.open(part, OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
            _require_device(folder, device)
        fd = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        _require_device(fd, device)
    except OSError:
        os.close(fd)
        raise
    return fd


def _require_device(fd: int, device: int) -> None:
    if os.fstat(fd).st_dev != device:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
