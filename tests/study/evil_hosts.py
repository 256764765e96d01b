"""Git hosts that misbehave on purpose: each a handler class for `serve`, real HTTP on loopback."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from jobrunner.demo.git_server import GitRequestHandler

ADVERTISEMENT = "application/x-git-upload-pack-advertisement"


def recording(seen: list[dict[str, str]]) -> type[GitRequestHandler]:
    """An honest host that notes the headers of each request."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            super().answer_with_git(body)

    return Handler


def answering(status: int, content_type: str, body: bytes) -> type[GitRequestHandler]:
    """Says the same to everything."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body_in: bytes) -> None:
            self.answer(status, content_type, body)

    return Handler


def redirecting(target: str) -> type[GitRequestHandler]:
    """Sends everybody to `target`."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            self.send_response(302)
            self.send_header("Location", target + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def closing() -> type[GitRequestHandler]:
    """Closes the connection without a word."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            self.close_connection = True

    return Handler


def hanging(seconds: float, asked: list[str] | None = None) -> type[GitRequestHandler]:
    """Takes the request, notes its path in `asked`, and says nothing."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            if asked is not None:
                asked.append(self.path)
            time.sleep(seconds)
            self.close_connection = True

    return Handler


def wanting(authorization: str) -> type[GitRequestHandler]:
    """A private repository: 401 without the right header, and an error page that repeats a wrong one."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            given = self.headers.get("Authorization", "")
            if given == authorization:
                super().answer_with_git(body)
            elif given:
                self.answer(403, "text/plain", f"you said {given}\n".encode())
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=git")
                self.send_header("Content-Length", "0")
                self.end_headers()

    return Handler


class _Narrow:
    """A stream that lets through `allowed` bytes, or only `rate` bytes a second after the first 2,000."""

    def __init__(self, stream: IO[bytes], allowed: int | None, rate: int | None) -> None:
        self._stream, self._allowed, self._rate, self._sent = stream, allowed, rate, 0

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), 200):
            piece = data[start : start + 200]
            if self._allowed is not None and self._sent + len(piece) > self._allowed:
                self._stream.write(piece[: self._allowed - self._sent])
                self._stream.flush()
                raise ConnectionAbortedError
            self._stream.write(piece)
            self._sent += len(piece)
            if self._rate is not None and self._sent > 2000:
                self._stream.flush()
                time.sleep(len(piece) / self._rate)
        return len(data)

    def flush(self) -> None:
        self._stream.flush()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def close(self) -> None:
        self._stream.close()


def narrow(*, allowed: int | None = None, rate: int | None = None) -> type[GitRequestHandler]:
    """The pack is cut after `allowed` bytes, or comes at `rate` bytes a second."""

    class Handler(GitRequestHandler):
        def answer_with_git(self, body: bytes) -> None:
            if b"command=fetch" in body:
                self.wfile = _Narrow(self.wfile, allowed, rate)  # type: ignore[assignment]
            super().answer_with_git(body)

    return Handler


def old_kind(root: Path, pause_s: float = 0) -> type[GitRequestHandler]:
    """Serves the repository as plain files, one object a request, as git hosts did before 2010."""

    class Handler(GitRequestHandler):
        def do_GET(self) -> None:
            file = root / self.path.partition("?")[0].lstrip("/")
            time.sleep(pause_s)
            if file.is_file():
                self.answer(200, "application/octet-stream", file.read_bytes())
            else:
                self.answer(404, "text/plain", b"")

    return Handler
