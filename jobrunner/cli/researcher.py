"""`jobrunner request`, `status` and `cancel`: a researcher's words to the controller."""

import os
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

import typer

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from rich.table import Table

_TOKEN_FILE: Final = Path("~/.config/jobrunner/token")
_URL_FILE: Final = Path("~/.config/jobrunner/controller")
_TIMEOUT_S: Final = (10, 75)
_LOOK_EVERY_S: Final = 2.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_STYLES: Final = {
    "pending": "dim",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "refused": "yellow",
    "cancelled": "magenta",
}

Url = Annotated[str, typer.Option("--controller", envvar="JOBRUNNER_URL", help="Address of the controller.")]


def request(
    actions: Annotated[list[str], typer.Argument(help="Actions of project.yaml, or run_all.")],
    backend: Annotated[
        str, typer.Option(envvar="JOBRUNNER_BACKEND", help="Data centre that shall run them.")
    ],
    project: Annotated[str, typer.Option(envvar="JOBRUNNER_PROJECT", help="Project that this belongs to.")],
    repo: Annotated[str | None, typer.Option(help="https address; else that of `origin` here.")] = None,
    branch: Annotated[str | None, typer.Option(help="Else the branch that is checked out here.")] = None,
    commit: Annotated[
        str | None, typer.Option(help="All 40 digits; else the one that is checked out here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the needs again too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show what becomes of it.")] = False,
    controller: Url = "",
) -> None:
    """Ask a data centre to run actions at one commit."""
    if repo is None or branch is None or commit is None:
        here = _checkout()
        repo, branch, commit = repo or here["repo"], branch or here["branch"], commit or here["commit"]
    body = {
        "client_key": str(uuid.uuid4()),
        "project": project,
        "backend": backend,
        "repo": repo,
        "branch": branch,
        "commit": commit,
        "actions": actions,
        "force": force,
    }
    base = _base(controller)
    answer = _call(base, "POST", "/api/v1/requests", body)
    typer.echo(answer["message"])
    found = answer["request"]
    if found is None:
        return
    typer.echo(f"Request {found['request_id']}: {_summary(found)}")
    typer.echo(f"Everyone can follow it at {base}{found['page']}")
    if watch:
        _watch(base, found["request_id"])
    else:
        typer.echo(f"Next: jobrunner status {found['request_id']} --watch")


def status(
    request_id: Annotated[str, typer.Argument(help="As `jobrunner request` printed it.")],
    watch: Annotated[bool, typer.Option("--watch", help="Stay until all jobs have ended.")] = False,
    controller: Url = "",
) -> None:
    """Show where the jobs of a request are, and why."""
    base = _base(controller)
    if watch:
        _watch(base, request_id)
        return
    from rich.console import Console

    found = _get(base, request_id)
    Console().print(_table(found))
    _say_what_next(found)


def cancel(
    request_id: Annotated[str, typer.Argument(help="As `jobrunner request` printed it.")],
    controller: Url = "",
) -> None:
    """Cancel the jobs of a request that have not ended."""
    answer = _call(_base(controller), "POST", f"/api/v1/requests/{_id(request_id)}/cancel", None)
    typer.echo(answer["message"])


def _base(given: str) -> str:
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
    return token


def _first_line(path: Path) -> str:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return ""
    return lines[0] if lines else ""


def _checkout() -> dict[str, str]:
    """Repository, branch and commit of the folder that we are in."""
    import git

    try:
        here = git.Repo(Path.cwd(), search_parent_directories=True)
        commit = here.head.commit.hexsha
        origin = here.remote("origin").url
    except (git.InvalidGitRepositoryError, ValueError) as error:
        raise Stop(
            "No git checkout with an `origin` and a commit here; give --repo, --branch and --commit."
        ) from error
    if here.head.is_detached:
        raise Stop("No branch is checked out here; give --branch.")
    if here.is_dirty():
        typer.echo("Note: there are changes here that are not committed; they will not run.", err=True)
    return {"repo": _https_form(origin), "branch": here.active_branch.name, "commit": commit}


def _https_form(origin: str) -> str:
    """`git@host:owner/name.git` or `ssh://git@host/owner/name` as the https address of the repository."""
    if origin.startswith("ssh://git@"):
        origin = "https://" + origin.removeprefix("ssh://git@")
    elif origin.startswith("git@") and ":" in origin:
        host, _, path = origin.removeprefix("git@").partition(":")
        origin = f"https://{host}/{path}"
    return origin.removesuffix(".git") if origin.startswith("https://") else origin


def _id(text: str) -> str:
    if not (text.isascii() and text.isalnum()):
        raise Stop(f"{text!r} is not the id of a request.")
    return text


def _get(base: str, request_id: str) -> dict[str, Any]:
    return _call(base, "GET", f"/api/v1/requests/{_id(request_id)}", None)


def _call(base: str, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
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


def _summary(found: dict[str, Any]) -> str:
    counts: dict[str, int] = {}
    for job in found["jobs"]:
        counts[job["state"]] = counts.get(job["state"], 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _table(found: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text as Styled

    table = Table(title=f"Request {found['request_id']}: {_summary(found)}", title_justify="left")
    for name in ("Action", "State", "Reason", "Why"):
        table.add_column(name)
    for job in found["jobs"]:
        state = Styled(job["state"], style=_STYLES.get(job["state"], ""))
        table.add_row(Styled(job["action"]), state, job["reason"].replace("_", " "), Styled(job["why"]))
    return table


def _what_next(job: dict[str, Any]) -> list[str]:
    """What to do about a job that went wrong, and where its log lies, in the controller's fixed sentences."""
    if job["state"] not in ("failed", "refused"):
        return []
    return [f"Next: {job['next_step']}", job["log"]]


def _say_what_next(found: dict[str, Any]) -> None:
    for job in found["jobs"]:
        lines = _what_next(job)
        if lines:
            typer.echo(
                f"\n{job['action']}: {job['state']} ({job['reason'].replace('_', ' ')}) - {job['why']}"
            )
        for line in lines:
            typer.echo(f"  {line}")


def _watch(base: str, request_id: str) -> None:
    """Show the request until all its jobs have ended; exit status 1 unless all succeeded."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    found = _get(base, request_id)
    if console.is_terminal:
        with Live(_table(found), console=console, auto_refresh=False) as live:
            while not found["finished"]:
                time.sleep(_LOOK_EVERY_S)
                found = _get(base, request_id)
                live.update(_table(found), refresh=True)
        _say_what_next(found)
    else:
        found = _print_changes(base, found)
    if any(job["state"] != "succeeded" for job in found["jobs"]):
        raise typer.Exit(1)


def _print_changes(base: str, found: dict[str, Any]) -> dict[str, Any]:
    """One line for each change, for logs and pipes."""
    seen: dict[str, tuple[str, str]] = {}
    while True:
        for job in found["jobs"]:
            now = (job["state"], job["reason"])
            if seen.get(job["job_id"]) != now:
                seen[job["job_id"]] = now
                typer.echo(
                    f"{job['action']}: {job['state']} ({job['reason'].replace('_', ' ')}) - {job['why']}"
                )
                for line in _what_next(job):
                    typer.echo(f"  {line}")
                sys.stdout.flush()
        if found["finished"]:
            return found
        time.sleep(_LOOK_EVERY_S)
        found = _get(base, found["request_id"])
