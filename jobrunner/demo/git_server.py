"""A git host on loopback: real `git http-backend` behind a small HTTP server.

The demo fetches its studies from it and the tests use it as the git host. It serves fetches only: a push
needs the repository's folder. It is not made for the open network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import IO

# The two requests of git's smart protocol that read. Everything else is answered with 404.
_ADVERTISE = re.compile(r"(/[A-Za-z0-9._/-]+)/info/refs\?service=git-upload-pack")
_UPLOAD_PACK = re.compile(r"(/[A-Za-z0-9._/-]+)/git-upload-pack")
_MAX_REQUEST_BYTES = 16 * 2**20
_CHUNK_BYTES = 64 * 2**10


class GitRequestHandler(BaseHTTPRequestHandler):
    """Answers one connection. `server` is the `GitServer` that owns it."""

    server: GitServer
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet each; otherwise every round trip costs 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """The list of references."""
        if _ADVERTISE.fullmatch(self.path):
            self.answer_with_git(b"")
        else:
            self.answer(404, "text/plain", b"not found\n")

    def do_POST(self) -> None:
        """The pack."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_REQUEST_BYTES:
            self.close_connection = True
            self.answer(411, "text/plain", b"a length of at most 16 MiB is needed\n")
            return
        body = self.rfile.read(int(length))
        if _UPLOAD_PACK.fullmatch(self.path):
            self.answer_with_git(body)
        else:
            self.answer(404, "text/plain", b"not found\n")

    def answer_with_git(self, body: bytes) -> None:
        """Run `git http-backend` on this request and pass its answer on."""
        with subprocess.Popen(
            [self.server.git, "http-backend"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._cgi_environment(len(body)),
        ) as backend:
            stdin, stdout = backend.stdin, backend.stdout
            if stdin is None or stdout is None:  # pragma: no cover - both were asked for
                raise RuntimeError("git http-backend has no pipes")
            try:
                stdin.write(body)
                stdin.close()
                self._pass_on(stdout)
            except (BrokenPipeError, ConnectionError):
                # The client went away in the middle: nobody is left to tell.
                self.close_connection = True
                backend.kill()

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        """Send a whole answer of ours."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""

    def _cgi_environment(self, length: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": self.server.search_path,
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            # The folders may belong to whoever made the demo.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_ADDR": self.client_address[0],
        }
        for header, name in (("Git-Protocol", "GIT_PROTOCOL"), ("Content-Encoding", "HTTP_CONTENT_ENCODING")):
            if header in self.headers:
                environment[name] = self.headers[header]
        return environment

    def _pass_on(self, answer: IO[bytes]) -> None:
        status, headers = 200, []
        while (line := answer.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        # The length of a pack is not known before it ends.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while chunk := answer.read(_CHUNK_BYTES):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")


class GitServer(ThreadingHTTPServer):
    """Serves every bare repository below `root` on 127.0.0.1, from construction until `stop`.

    Use it as a context manager, or call `stop`. `handler` is for tests that want a misbehaving host.

    Raises:
        FileNotFoundError: there is no git on this machine.
        OSError: the port is taken.
    """

    daemon_threads = True
    # A test or the demo may stop while a client still holds its connection open.
    block_on_close = False

    def __init__(
        self,
        root: Path,
        port: int = 0,
        handler: type[GitRequestHandler] = GitRequestHandler,
        host: str = "127.0.0.1",
    ) -> None:
        git = shutil.which("git")
        if git is None:
            raise FileNotFoundError("git is not installed")
        self.root = root.resolve()
        self.git = git
        self.search_path = str(Path(git).parent) + ":/usr/bin:/bin"
        super().__init__((host, port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="git-server", daemon=True
        )
        self._thread.start()

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at its end."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def url(self, name: str) -> str:
        """The address of the repository in folder `<root>/<name>`."""
        return f"{self.base_url}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is daily life; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Take no more requests and close the port."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __enter__(self) -> GitServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
