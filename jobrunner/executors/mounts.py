"""Mount and unmount by system call. Saves a process start for each, and no text is parsed on the way."""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
UMOUNT_NOFOLLOW: Final = 8

# No mount there, no such path, or no right to unmount anything.
_NOTHING_TO_UNMOUNT: Final = frozenset({errno.EINVAL, errno.ENOENT, errno.EPERM})

_LOOP_CTL_GET_FREE: Final = 0x4C82
_LOOP_CONFIGURE: Final = 0x4C0A  # since Linux 5.8
_LO_FLAGS_AUTOCLEAR: Final = 4
_LOOP_FLAGS_OFFSET: Final = 8 + 5 * 8 + 3 * 4
_LOOP_CONFIG_SIZE: Final = 8 + 232 + 64

_libc = ctypes.CDLL(None, use_errno=True)


def is_mounted(point: Path) -> bool:
    """Whether a file system of its own is mounted at this path, as all that are mounted here are."""
    try:
        return point.lstat().st_dev != point.parent.lstat().st_dev
    except FileNotFoundError:
        return False
    except OSError:
        # A file system that is broken is there all the same.
        return True


def mount_image(image: Path, point: Path) -> None:
    """Mount an ext4 image file at `point`, nosuid and nodev.

    The loop device frees itself with the last unmount, and at once if this process dies in between.
    Raises OSError.
    """
    with _loop_device(image) as device:
        # Without noinit_itable the kernel would write the whole inode table in the background. With barriers
        # the host's disk would write at each sync and unmount; after a power cut no such file is used again.
        _mount(device.path, point, "ext4", MS_NOSUID | MS_NODEV, "noinit_itable,nobarrier")


def mount_layers(lower: Sequence[Path], point: Path) -> None:
    """Mount an overlay of at least two read-only layers at `point`, the first one on top. Raises OSError.

    The paths must need no escape in an overlay's options.
    """
    flags = MS_RDONLY  # as the kernel makes every overlay without an upper layer
    flags |= MS_NOSUID
    flags |= MS_NODEV
    flags |= MS_NOEXEC
    _mount("overlay", point, "overlay", flags, f"lowerdir={':'.join(map(str, lower))}")


def mount_overlay(lower: Sequence[Path], upper: Path, scratch: Path, point: Path) -> None:
    """Mount an overlay at `point`, nosuid and nodev: read-only layers, the first one on top, under `upper`.

    `scratch` is an empty folder beside `upper`. The paths must need no escape in an overlay's options.
    Raises OSError.
    """
    flags = MS_NOSUID
    flags |= MS_NODEV
    data = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={scratch}"
    _mount("overlay", point, "overlay", flags, data)


def remount_read_only(point: Path) -> None:
    """Make a mount read-only, nosuid, nodev and noexec. Raises OSError (EBUSY: somebody writes).

    The flags are those of the mount, not of the file system, which would first write everything to the disk:
    what is read through this mount is copied and thrown away.
    """
    flags = MS_REMOUNT | MS_BIND
    flags |= MS_RDONLY
    flags |= MS_NOSUID
    flags |= MS_NODEV
    flags |= MS_NOEXEC
    _mount("none", point, "none", flags, "")


def unmount(point: Path) -> None:
    """Unmount every layer at `point`; nothing happens where nothing is mounted. Raises OSError."""
    # Not only where `is_mounted` says so: it cannot see what is of the file system around.
    while _libc.umount2(os.fsencode(point), UMOUNT_NOFOLLOW) == 0:
        pass
    number = ctypes.get_errno()
    if number not in _NOTHING_TO_UNMOUNT or is_mounted(point):
        raise OSError(number, os.strerror(number), str(point))


def is_attached(image: Path) -> bool:
    """Whether some loop device holds this file, perhaps mounted where this process does not see it."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().rstrip("\n") == str(image):
                return True
        except OSError:
            continue  # freed while we looked
    return False


class _loop_device:
    """A free loop device bound to `image` for the time of the block, or as long as it is mounted."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._fd = -1
        self.path = ""

    def __enter__(self) -> "_loop_device":
        backing = os.open(self._image, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                self._bind(control, backing)
            finally:
                os.close(control)
        finally:
            os.close(backing)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _bind(self, control: int, backing: int) -> None:
        config = bytearray(_LOOP_CONFIG_SIZE)
        struct.pack_into("=I", config, 0, backing)
        struct.pack_into("=I", config, _LOOP_FLAGS_OFFSET, _LO_FLAGS_AUTOCLEAR)
        while True:
            self.path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(self._fd, _LOOP_CONFIGURE, bytes(config))
                return
            except OSError as error:
                os.close(self._fd)
                if error.errno != errno.EBUSY:  # another process took this one first
                    raise


def _mount(source: str, point: Path, kind: str, flags: int, data: str) -> None:
    done = _libc.mount(
        source.encode(), os.fsencode(point), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(point))
