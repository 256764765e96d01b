"""Messages with at most one open file each, over a stream socket between two of our processes.

A message is a length (4 bytes) and that many bytes of JSON. The file travels with the length (SCM_RIGHTS).
Only the standard library is imported, since the collector and the checking worker start with this.
"""

import array
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

# The patterns of the longest project.yaml (5 MB), with each sign of two bytes written as an escape of six.
LARGEST = 16 * 1024 * 1024
_LENGTH = struct.Struct("!I")
# Room for more than one fd, so that a peer that sends two is seen and not cut off by the kernel.
_ROOM_FOR_FDS = 8
_LOOK_EVERY_S = 0.5


class BrokenConversation(Exception):
    """The other process ended, went silent past the deadline, or sent something that is no message."""


def send(connection: socket.socket, message: Mapping[str, Any], fd: int | None = None) -> None:
    """Send one message and, if given, a copy of `fd`. Raises BrokenConversation."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > LARGEST:
        raise BrokenConversation("a message is too long")
    head = _LENGTH.pack(len(body))
    try:
        if fd is None:
            connection.sendall(head + body)
        else:
            sent = socket.send_fds(connection, [head], [fd])
            connection.sendall(head[sent:] + body)
    except OSError as error:
        raise BrokenConversation("the other process has gone") from error


def receive(
    connection: socket.socket, still_wanted: Callable[[], object] | None = None
) -> tuple[dict[str, Any], int | None] | None:
    """The next message and the file that came with it, or None when the other side has closed.

    The caller owns the fd, which is closed on exec. Waits as long as the socket's own timeout. With
    `still_wanted`, that holds for the whole message, and it is called twice a second meanwhile: it may raise
    to stop. Raises BrokenConversation.
    """
    fds: list[int] = []
    try:
        patience = _Patience(connection, still_wanted) if still_wanted is not None else None
        head = _receive_head(connection, fds, patience)
        if head == b"":
            return None
        (length,) = _LENGTH.unpack(head)
        if length > LARGEST or len(fds) > 1:
            raise BrokenConversation("a message is too long or carries too many files")
        message = json.loads(_receive_exactly(connection, length, patience))
        if not isinstance(message, dict):
            raise BrokenConversation("a message is no mapping")
    except (OSError, ValueError, RecursionError, struct.error) as error:
        _close_all(fds)
        raise BrokenConversation("the other process has gone or sent no message") from error
    except BaseException:
        _close_all(fds)
        raise
    return message, fds[0] if fds else None


class _Patience:
    """Waits for the next bytes of one message, and not longer than the socket's timeout for all of them."""

    def __init__(self, connection: socket.socket, still_wanted: Callable[[], object]) -> None:
        self._still_wanted = still_wanted
        timeout = connection.gettimeout()
        now = time.monotonic()
        self._look_at = now + _LOOK_EVERY_S
        self._over = None if timeout is None else now + timeout
        self._is_late = False
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def wait(self) -> None:
        """Return when there is something to read."""
        ready = False
        while not ready:
            ready = bool(self._poll.poll(_LOOK_EVERY_S * 1000))
            now = time.monotonic()
            if ready and now < self._look_at:
                return
            # Also where bytes come all the time, one by one.
            self._still_wanted()
            self._look_at = now + _LOOK_EVERY_S
            if self._over is not None and now > self._over:
                # What is there at the first look may be whole: then it was we who were late.
                if self._is_late or not ready:
                    raise BrokenConversation("the other process is silent")
                self._is_late = True


def _receive_head(connection: socket.socket, fds: list[int], patience: _Patience | None) -> bytes:
    head = b""
    while len(head) < _LENGTH.size:
        if patience is not None:
            patience.wait()
        data, ancillary, _flags, _address = connection.recvmsg(
            _LENGTH.size - len(head), socket.CMSG_SPACE(_ROOM_FOR_FDS * array.array("i").itemsize)
        )
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                fds.extend(received)
        if data == b"":
            if head:
                raise BrokenConversation("a message was cut short")
            break
        head += data
    for fd in fds:
        os.set_inheritable(fd, False)
    return head


def _receive_exactly(connection: socket.socket, length: int, patience: _Patience | None) -> bytes:
    pieces = []
    while length:
        if patience is not None:
            patience.wait()
        piece = connection.recv(min(length, 1 << 18))
        if piece == b"":
            raise BrokenConversation("a message was cut short")
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
