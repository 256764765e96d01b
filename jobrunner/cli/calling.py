"""A researcher's calls to the controller: its address, the token, one call with its answer or its refusal."""

import os
import re
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import typer

from jobrunner.cli.errors import Stop

_TOKEN_FILE: Final = Path("~/.config/jobrunner/token")
_URL_FILE: Final = Path("~/.config/jobrunner/controller")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TIMEOUT_S: Final = (10, 75)
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
    return call(base, "GET", f"/api/v1/requests/{check_id(request_id)}", None)


def call(base: str, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """One call; ends the command with what the controller says when it refuses."""
    import requests

    token = _token()

    def sign_in(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a plain header it would be replaced by what a .netrc file says about this host.
        prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared

    try:
        response = requests.request(
            method, base + path, json=body, auth=sign_in, timeout=_TIMEOUT_S, allow_redirects=False
        )
        answer = response.json()
    except requests.JSONDecodeError as error:
        raise Stop(f"{base} did not answer like a controller. Check its address.") from error
    except requests.RequestException as error:
        raise Stop(f"{base} cannot be reached ({type(error).__name__}). Try again later.") from error
    if response.ok and isinstance(answer, dict):
        return answer
    _say_errors(answer, response.status_code)


def _say_errors(answer: Any, code: int) -> NoReturn:
    errors = answer.get("errors", []) if isinstance(answer, dict) else []
    for error in errors:
        typer.echo(f"{error['id']}: {error['message']}", err=True)
        for problem in error.get("problems") or []:
            where = f"line {problem['line']}, column {problem['column']}"
            typer.echo(f"  {where}: {problem['id']} {problem['message']}", err=True)
    if not errors:
        raise Stop(f"The controller answered with status {code}.")
    raise typer.Exit(1)
