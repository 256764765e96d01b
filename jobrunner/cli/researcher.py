"""`jobrunner request`, `status` and `cancel`: a researcher's words to the controller."""

import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from jobrunner.cli import answers
from jobrunner.cli.calling import address, call, check_id, get_request
from jobrunner.cli.errors import Stop
from jobrunner.cli.telling import (
    jobs_table,
    line,
    requests_table,
    say_already,
    say_follow,
    say_reused,
    say_what_next,
    what_next,
)

_LOOK_EVERY_S: Final = 2.0

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
    base = address(controller)
    answer = call(base, "POST", "/api/v1/requests", body, answers.CREATED)
    typer.echo(answer["message"])
    say_reused(answer["reused"])
    say_already(answer["already"], base)
    found = answer["request"]
    if found is None:
        for request_id in dict.fromkeys(one["request_id"] for one in answer["already"]):
            typer.echo(f"Next: jobrunner status {request_id} --watch")
        return
    typer.echo(f"Request {found['request_id']}: {found['summary']}")
    say_follow(base, found["page"])
    if watch:
        _watch(base, found["request_id"])
    else:
        typer.echo(f"Next: jobrunner status {found['request_id']} --watch")


def status(
    request_id: Annotated[
        str | None, typer.Argument(help="As `jobrunner request` printed it. Without it: your last requests.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until all jobs have ended.")] = False,
    controller: Url = "",
) -> None:
    """Show where the jobs of a request are, and why; or list your own last 20 requests."""
    base = address(controller)
    if request_id is None:
        if watch:
            raise Stop("Say which request to watch; `jobrunner status` lists yours.")
        _list(base)
        return
    if watch:
        _watch(base, request_id)
        return
    from rich.console import Console

    found = get_request(base, request_id)
    Console().print(jobs_table(found))
    say_what_next(found)


def cancel(
    request_id: Annotated[str, typer.Argument(help="As `jobrunner request` printed it.")],
    controller: Url = "",
) -> None:
    """Cancel the jobs of a request that have not ended."""
    base = address(controller)
    answer = call(base, "POST", f"/api/v1/requests/{check_id(request_id)}/cancel", None, answers.CANCELLED)
    typer.echo(answer["message"])
    say_follow(base, answer["request"]["page"])


def _list(base: str) -> None:
    rows = call(base, "GET", "/api/v1/requests", None, answers.OWN_REQUESTS)["requests"]
    if not rows:
        typer.echo(
            "You have asked for nothing yet. Next: jobrunner request ACTION --project ... --backend ..."
        )
        return
    from rich.console import Console

    Console().print(requests_table(rows))
    typer.echo("Next: jobrunner status REQUEST")


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


def _watch(base: str, request_id: str) -> None:
    """Show the request until all its jobs have ended; exit status 1 unless all succeeded."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    found = get_request(base, request_id)
    if console.is_terminal:
        with Live(jobs_table(found), console=console, auto_refresh=False) as live:
            while not found["finished"]:
                time.sleep(_LOOK_EVERY_S)
                found = get_request(base, request_id)
                live.update(jobs_table(found), refresh=True)
        say_what_next(found)
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
                typer.echo(line(job))
                for text in what_next(job):
                    typer.echo(f"  {text}")
                sys.stdout.flush()
        if found["finished"]:
            return found
        time.sleep(_LOOK_EVERY_S)
        found = get_request(base, found["request_id"])
