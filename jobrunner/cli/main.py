"""The command `jobrunner`. Each command imports what it needs when it runs, so that check is quick."""

import sys
from collections.abc import Callable
from typing import Annotated, Final

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
    path: Annotated[str, typer.Argument(help="The project.yaml to check.")] = "project.yaml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a project.yaml: every mistake at once, with line, column and how to mend it."""
    from jobrunner.cli.check import check as run

    raise typer.Exit(run(path, json))


def _agent() -> None:
    from jobrunner.cli import agent

    app.add_typer(agent.app, name="agent")


def _controller() -> None:
    from jobrunner.cli import controller

    app.add_typer(controller.app, name="controller")


def _approval() -> None:
    from jobrunner.cli import approval

    app.add_typer(approval.app, name="approval")


def _researcher() -> None:
    from jobrunner.cli import researcher

    for command in (researcher.request, researcher.status, researcher.cancel):
        app.command()(command)


def _demo() -> None:
    from jobrunner.cli import demo

    app.command()(demo.demo)


def _dummy() -> None:
    from jobrunner.cli import dummy

    app.command()(dummy.dummy)


def _images() -> None:
    from jobrunner.cli import images

    app.add_typer(images.app, name="images")


_GROUPS: Final[dict[str, Callable[[], None]]] = {
    "check": lambda: None,
    "request": _researcher,
    "status": _researcher,
    "cancel": _researcher,
    "agent": _agent,
    "controller": _controller,
    "approval": _approval,
    "demo": _demo,
    "dummy": _dummy,
    "images": _images,
}


def _attach(words: list[str]) -> None:
    """Attach the command that was asked for; all of them for help and for what does not exist."""
    wanted = _GROUPS.get(words[0]) if words else None
    for attach in (wanted,) if wanted is not None else dict.fromkeys(_GROUPS.values()):
        attach()


def main() -> None:
    """Entry point of the command."""
    _attach(sys.argv[1:])
    try:
        app()
    except Stop as stop:
        print(f"jobrunner: {stop}", file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
