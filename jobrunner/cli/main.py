"""The command `jobrunner`. Each command imports what it needs when it runs, so that check is quick."""

import sys
from typing import Annotated

import typer

from jobrunner import __version__
from jobrunner.cli.errors import Stop

app = typer.Typer(
    name="jobrunner",
    help="Runs researchers' code where the health records are, so that the records never leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"jobrunner {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Commands for researchers: check, request, status, cancel. For services: agent, controller."""


@app.command()
def check(
    path: Annotated[str, typer.Argument(help="A project.yaml, or a folder that holds one.")] = "project.yaml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a project.yaml: every mistake at once, with line, column and how to mend it."""
    from jobrunner.cli.check import check as run

    raise typer.Exit(run(path, json))


def _add_groups(wanted: str) -> None:
    """Attach the group that was asked for; all of them for help."""
    if wanted not in _COMMANDS:
        from jobrunner.cli import agent, approval, controller, demo, researcher

        app.add_typer(agent.app, name="agent")
        app.add_typer(controller.app, name="controller")
        app.add_typer(approval.app, name="approval")
        researcher.register(app)
        demo.register(app)


_COMMANDS = frozenset({"check", "--version"})


def main() -> None:
    """Entry point of the command."""
    _add_groups(sys.argv[1] if len(sys.argv) > 1 else "--help")
    try:
        app()
    except Stop as stop:
        print(f"jobrunner: {stop}", file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
