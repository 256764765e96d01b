"""A researcher's calls to the controller: its address, the token, one call with its answer or its refusal."""

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import typer

from jobrunner import __version__
from jobrunner.cli import answers
from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    import requests

_TOKEN_FILE: Final = Path("~/.config/jobrunner/token")
_URL_FILE: Final = Path("~/.config/jobrunner/controller")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TIMEOUT_S: Final = (10, 75)
_WHOLE_S: Final = 75.0
# A request of 2,000 actions is a few MiB.
_ANSWER_BYTES: Final = 32 * 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def address(given: str) -> str:
    """The controller's address; plain http only on this machine."""
    text = given or _first_line(_URL_FILE)
    if not text:
        raise Stop(
            f"Which controller? Give --controller, set JOBRUNNER_URL, or save its address as {_URL_FILE}."
        )
    parts = urlsplit(text)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return text.rstrip("/")
    raise Stop(f"{text} is not an https address; your token must not travel in the clear.")


def _token() -> str:
    token = os.environ.get("JOBRUNNER_TOKEN", "").strip() or _first_line(_TOKEN_FILE)
    if not token:
        raise Stop(f"No token. Set JOBRUNNER_TOKEN or save it as {_TOKEN_FILE} with mode 0600.")
    if _TOKEN.fullmatch(token) is None:
        # Never quoted: what was pasted may hold the token, and this text may end in a log.
        raise Stop("The token is not one word of letters, digits, - and _. Set the token and nothing else.")
    return token


def _first_line(path: Path) -> str:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return ""
    return lines[0] if lines else ""


def check_id(text: str) -> str:
    """The id of a request as it was typed; it becomes part of an address."""
    if not (text.isascii() and text.isalnum()):
        raise Stop(f"{text!r} is not the id of a request.")
    return text


def get_request(base: str, request_id: str) -> dict[str, Any]:
    """A request as it is now."""
    return call(base, "GET", f"/api/v1/requests/{check_id(request_id)}", None, answers.REQUEST)


def call(base: str, method: str, path: str, body: dict[str, Any] | None, shape: Any) -> dict[str, Any]:
    """One call, whose answer has what `shape` names.

    Ends the command with what the controller says when it refuses, and where no such answer comes.
    """
    import requests

    token = _token()

    def sign_in(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a plain header it would be replaced by what a .netrc file says about this host.
        prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared

    try:
        with requests.request(
            method,
            base + path,
            json=body,
            auth=sign_in,
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as response:
            answer = json.loads(_whole(base, response))
    except requests.RequestException as error:
        raise Stop(f"{base} cannot be reached ({type(error).__name__}). Try again later.") from error
    except (ValueError, RecursionError) as error:
        raise Stop(f"{base} did not answer like a controller. Check its address.") from error
    if not response.ok:
        _say_errors(answer, response.status_code)
    if not answers.fits(answer, shape):
        raise Stop(
            f"{base} answers otherwise than this jobrunner {__version__} expects. Install the version that "
            "your controller runs."
        )
    found: dict[str, Any] = answer
    return found


def _whole(base: str, response: "requests.Response") -> bytes:
    # The timeouts of `requests` begin anew with each byte that comes.
    until = time.monotonic() + _WHOLE_S
    content = bytearray()
    for piece in response.iter_content(_PIECE_BYTES):
        content += piece
        if len(content) > _ANSWER_BYTES:
            raise Stop(f"{base} answers without an end. Check its address.")
        if time.monotonic() > until:
            raise Stop(f"{base} answers too slowly. Try again later.")
    return bytes(content)


def _say_errors(answer: Any, code: int) -> NoReturn:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors or not answers.fits(errors, [answers.ERROR]):
        raise Stop(f"The controller answered with status {code}.")
    for error in errors:
        typer.echo(f"{error['id']}: {error['message']}", err=True)
        problems = error.get("problems")
        for problem in problems if answers.fits(problems, [answers.PROBLEM]) else ():
            where = f"line {problem['line']}, column {problem['column']}"
            typer.echo(f"  {where}: {problem['id']} {problem['message']}", err=True)
    raise typer.Exit(1)
