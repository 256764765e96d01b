"""The line to a Docker engine: the SDK's client on Python's own HTTP connections.

The SDK is a session for web sites. Cookies, redirects, proxies, hooks, passwords of the environment: none of
it belongs between an agent and its engine, and it costs more than half of each call.
"""

import http.client
import io
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

import docker
import requests
import requests.exceptions
from requests.structures import CaseInsensitiveDict
from urllib3.util.wait import wait_for_read

_IDLE: Final = 256


class LineClient(docker.APIClient):
    """Safe to use from several threads. Raises what the SDK raises, and an OSError where the line breaks."""

    def __init__(self, url: str | None, *, timeout: int) -> None:
        # Lines that are open and on which nothing is asked.
        self._idle: deque[http.client.HTTPConnection] = deque()
        super().__init__(base_url=url, version="auto", timeout=timeout)

    def request(  # type: ignore[override]  # only what the calls of the SDK pass
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        params: Mapping[str, object] | None = None,
        data: str | None = None,
        json: None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        allow_redirects: bool = True,
    ) -> requests.Response:
        """One call; no socket operation of it takes longer than `timeout` seconds. No redirect is followed.

        With `stream`, `raw` is the body, which the caller reads and closes.
        """
        target = url.removeprefix(self.base_url)
        if params:
            target += "?" + urlencode({key: value for key, value in params.items() if value is not None})
        connection = self._line(timeout)
        try:
            connection.request(method, target, data and data.encode("utf-8"), dict(headers or {}))
            answer = connection.getresponse()
            response = _response(url, answer)
            response.raw = answer if stream else io.BytesIO(answer.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise requests.exceptions.ConnectionError(error) from error
        if not answer.will_close:
            # After a status of 1xx another answer to the same call follows.
            self._let_go(connection, is_done=not stream and answer.status >= 200)
        if response.is_redirect:
            response.close()
            raise requests.exceptions.TooManyRedirects("a redirect, which is not followed")
        return response

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()
        super().close()

    def _let_go(self, connection: http.client.HTTPConnection, *, is_done: bool) -> None:
        if is_done and len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            # Whoever still reads an answer from it has the file, and closes that.
            connection.sock.close()

    def _line(self, timeout: float) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._new_line(timeout)
            # Something to read before anything is asked: the engine has closed it.
            if not wait_for_read(connection.sock, 0):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def _new_line(self, timeout: float) -> http.client.HTTPConnection:
        socket_path = getattr(self.get_adapter(self.base_url), "socket_path", None)
        if socket_path is not None:
            return _UnixConnection(socket_path, timeout)
        parts = urlsplit(self.base_url)
        if parts.scheme != "http" or parts.path.strip("/"):
            raise requests.exceptions.InvalidSchema(
                "an engine is reached by a socket or by http without a path"
            )
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _response(url: str, answer: http.client.HTTPResponse) -> requests.Response:
    response = requests.Response()
    response.url = url
    response.status_code = answer.status
    response.reason = answer.reason
    response.headers = CaseInsensitiveDict(answer.headers.items())
    response.encoding = "utf-8"
    return response
