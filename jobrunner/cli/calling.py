"""A researcher's calls to the controller: its address, the token, one call with its answer or its refusal."""

import json
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import typer

from jobrunner import __version__
from jobrunner.cli import answers
from jobrunner.cli.errors import Stop
from jobrunner.cli.printable import printable, printable_lines
from jobrunner.sync.address import InsecureController, check_address

T = TypeVar("T")

_TOKEN_FILE: Final = Path("~/.config/jobrunner/token")
_URL_FILE: Final = Path("~/.config/jobrunner/controller")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TIMEOUT_S: Final = (10, 75)
_WHOLE_S: Final = 90.0
# A request of 7,000 actions, which is a long study, is some 10 MB.
_ANSWER_BYTES: Final = 128 * 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024


def address(given: str) -> str:
    """The controller's address; plain http only on this machine."""
    text = given or _first_line(_URL_FILE)
    if not text:
        raise Stop(
            f"Which controller? Give --controller, set JOBRUNNER_URL, or save its address as {_URL_FILE}."
        )
    try:
        return check_address(text, allow_loopback_http=True)
    except InsecureController:
        # Not quoted: somebody may have pasted a password into it.
        raise Stop(
            "The controller's address is not an https address like https://host[:port]; "
            "your token must not travel in the clear."
        ) from None


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
    """One call, whose answer has what `shape` names; in its texts nothing is left that a terminal obeys.

    Ends the command with what the controller says when it refuses, and where no such answer comes.
    """
    status, content = _within(_WHOLE_S, lambda: _answered(base, method, path, body), base)
    if 300 <= status < 400:
        raise Stop(f"{base} sends elsewhere, which is not followed. Check its address.")
    try:
        answer = _shown(json.loads(content))
    except (ValueError, RecursionError) as error:
        if status >= 500:
            raise Stop(f"{base} answered with status {status}. Try again later.") from error
        raise Stop(f"{base} did not answer like a controller. Check its address.") from error
    if status >= 400:
        _say_errors(base, answer, status)
    if not answers.fits(answer, shape):
        raise Stop(
            f"{base} answers otherwise than this jobrunner {__version__} expects. Install the version that "
            "your controller runs."
        )
    found: dict[str, Any] = answer
    return found


def _answered(base: str, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
    """Status and body of the answer to one call."""
    import requests
    import urllib3

    token = _token()

    def sign_in(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a plain header it would be replaced by what a .netrc file says about this host.
        prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Nowhere: even one that is not followed would be read to its end."""

    try:
        with (
            Session() as session,
            session.request(
                method, base + path, json=body, auth=sign_in, timeout=_TIMEOUT_S, stream=True
            ) as response,
        ):
            content = bytearray()
            for piece in response.iter_content(_PIECE_BYTES):
                content += piece
                if len(content) > _ANSWER_BYTES:
                    raise Stop(f"{base} answers at greater length than a controller does. Check its address.")
            return response.status_code, bytes(content)
    except ValueError as error:
        raise Stop(f"{base} did not answer like a controller. Check its address.") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Stop(f"{base} cannot be reached ({type(error).__name__}). Try again later.") from error
    except OSError as error:
        # Such as a file of authorities that a variable of the environment names and that is not there.
        raise Stop(f"{base} cannot be reached: {printable(str(error))}.") from error


def _within(seconds: float, work: Callable[[], T], base: str) -> T:
    """What `work` returns or raises, unless that takes longer.

    The timeouts of `requests` begin anew with each byte that comes. What still runs ends with this process.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 (raised again below)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([future], seconds).done:
        raise Stop(f"{base} answers too slowly. Try again later.")
    return future.result()


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return printable_lines(value)
    if isinstance(value, list):
        return [_shown(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _shown(entry) for key, entry in value.items()}
    return value


def _say_errors(base: str, answer: Any, status: int) -> NoReturn:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors or not answers.fits(errors, [answers.ERROR]):
        raise Stop(f"{base} answered with status {status} and not like a controller. Check its address.")
    for error in errors:
        typer.echo(f"{error['id']}: {error['message']}", err=True)
        problems = error.get("problems")
        for problem in problems if answers.fits(problems, [answers.PROBLEM]) else ():
            where = f"line {problem['line']}, column {problem['column']}"
            typer.echo(f"  {where}: {problem['id']} {problem['message']}", err=True)
    raise typer.Exit(1)
