"""A limit on a whole answer, head and body, however slowly the peer lets its bytes drip (threats.md P05).

The timeout of a socket starts anew with every byte, so by itself it would let one answer last for days.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse


@contextmanager
def cut_after(seconds: float, cut: Callable[[], None]) -> Iterator[None]:
    """Call `cut` from another thread unless the block is left within `seconds`."""

    def cut_now() -> None:
        try:
            cut()
        except (OSError, RuntimeError, ValueError):
            # The answer came, or its connection was closed, in this very moment.
            pass

    timer = threading.Timer(seconds, cut_now)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _PlainConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        with cut_after(_seconds(self), _shutdown(self)):
            return super().getresponse()


class _TlsConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        with cut_after(_seconds(self), _shutdown(self)):
            return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class PatientAdapter(HTTPAdapter):
    """No retries, and the read timeout of a call is for the whole head of its answer."""

    def __init__(self) -> None:
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make connections of our own classes."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def _seconds(connection: HTTPConnection) -> float:
    if not isinstance(connection.timeout, int | float):
        raise ValueError("every call has a read timeout")
    return float(connection.timeout)


def _shutdown(connection: HTTPConnection) -> Callable[[], None]:
    open_socket: socket.socket = connection.sock
    return lambda: open_socket.shutdown(socket.SHUT_RDWR)
