"""How a researcher's terminal shows what the controller says: tables, and the few lines around them."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_STYLES: Final = {
    "pending": "dim",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "refused": "yellow",
    "cancelled": "magenta",
}
_LISTED: Final = 20
_BLOCKED: Final = "dependency_failed"


def jobs_table(found: Mapping[str, Any]) -> "Table":
    """The jobs of a request, each with what it does or why it ended."""
    from rich.table import Table
    from rich.text import Text

    title = Text(f"Request {found['request_id']}: {found['summary']}")
    table = Table(title=title, title_justify="left")
    for name in ("Action", "State", "Reason", "Why"):
        table.add_column(name)
    for job in found["jobs"]:
        state = _state(job["state"])
        if job["running_s"] is not None:
            state.append(f" {duration(job['running_s'])}")
        table.add_row(Text(job["action"]), state, Text(_words(job["reason"])), Text(job["why"]))
    return table


def requests_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """One line for each request."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("Request", "Asked", "Project", "State", "Jobs"):
        table.add_column(name, no_wrap=name == "Request")
    for row in rows:
        table.add_row(
            Text(row["request_id"]),
            clock(row["created_at"]),
            Text(row["project"]),
            _state(row["state"]),
            Text(row["summary"]),
        )
    return table


def say_reused(reused: Sequence[Mapping[str, Any]]) -> None:
    """For each action that an earlier run serves for: at which commit and when that was."""
    for run in reused[:_LISTED]:
        commit = "the commit asked for" if run["same_commit"] else "not the commit asked for"
        typer.echo(
            f"  {run['action']}: reused, succeeded {clock(run['finished_at'])} "
            f"at commit {run['commit'][:12]}, {commit} (request {run['request_id']})"
        )
        failure = run["failed_since"]
        if failure is not None:
            typer.echo(
                f"    A later run of it failed {clock(failure['finished_at'])} at commit "
                f"{failure['commit'][:12]} ({_words(failure['reason'])}, request {failure['request_id']})."
            )
    _say_more(reused)


def say_already(already: Sequence[Mapping[str, Any]], base: str) -> None:
    """For each action that waits or runs already: under which request, and where to follow it."""
    for one in already[:_LISTED]:
        commit = "the commit asked for" if one["same_commit"] else "not the commit asked for"
        typer.echo(
            f"  {one['action']}: already {one['state']} in request {one['request_id']} (asked by "
            f"{one['asked_by']}, at commit {one['commit'][:12]}, {commit})"
        )
    _say_more(already)
    for page in list(dict.fromkeys(one["page"] for one in already))[:_LISTED]:
        say_follow(base, page)


def say_follow(base: str, page: str) -> None:
    """Where anybody can watch."""
    typer.echo(f"Everyone can follow it at {base}{page}")


def say_what_next(found: Mapping[str, Any]) -> None:
    """Below a table: what to do about each job that went wrong, and where its log lies."""
    for job in found["jobs"]:
        lines = what_next(job)
        if lines:
            typer.echo(f"\n{line(job)}")
        for text in lines:
            typer.echo(f"  {text}")


def what_next(job: Mapping[str, Any]) -> list[str]:
    """What to do about a job that was tried and went wrong, in the controller's fixed sentences.

    What did not run only repeats the advice about the action that it waited for.
    """
    if job["state"] not in ("failed", "refused") or job["reason"] == _BLOCKED:
        return []
    return [f"Next: {job['next_step']}", job["log"]]


def line(job: Mapping[str, Any]) -> str:
    """A job in one line."""
    return f"{job['action']}: {job['state']} ({_words(job['reason'])}) - {job['why']}"


def duration(seconds: int) -> str:
    """Such as `45 s`, `3 min 20 s`, `2 h 5 min` or `1 d 3 h`."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (unit, size), (smaller, part) in itertools.pairwise(units):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"


def clock(moment: str) -> str:
    """A moment of the controller's JSON, in UTC to the minute."""
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"


def _say_more(listed: Sequence[object]) -> None:
    if len(listed) > _LISTED:
        typer.echo(f"  and {len(listed) - _LISTED} more")


def _state(word: str) -> "Text":
    from rich.text import Text

    return Text(word, style=_STYLES.get(word, ""))


def _words(reason: str) -> str:
    return reason.replace("_", " ")
