"""The commands of `jobrunner`. Each imports what it needs when it runs, so that none waits for another."""

from collections.abc import Callable
from typing import Annotated, Final

import typer

from jobrunner import __version__

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
    """For researchers: init, check, plan, run, request, status, cancel. For services: agent, controller."""


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    },
    add_help_option=False,
)
def check(context: typer.Context) -> None:
    """Check a project.yaml: every mistake at once, with line, column and how to mend it."""
    from jobrunner.cli.check import main as run

    raise typer.Exit(run(context.args))


def _schema() -> None:
    from jobrunner.cli import schema

    app.command()(schema.schema)


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


def _run() -> None:
    from jobrunner.cli import run

    for command in (run.run, run.plan):
        app.command()(command)


def _demo() -> None:
    from jobrunner.cli import demo

    app.command()(demo.demo)


def _init() -> None:
    from jobrunner.cli import init

    app.command(no_args_is_help=True)(init.init)


def _dummy() -> None:
    from jobrunner.cli import dummy

    app.command()(dummy.dummy)


def _images() -> None:
    from jobrunner.cli import images

    app.add_typer(images.app, name="images")


_GROUPS: Final[dict[str, Callable[[], None]]] = {
    "check": lambda: None,
    "init": _init,
    "run": _run,
    "plan": _run,
    "dummy": _dummy,
    "schema": _schema,
    "request": _researcher,
    "status": _researcher,
    "cancel": _researcher,
    "images": _images,
    "agent": _agent,
    "approval": _approval,
    "controller": _controller,
    "demo": _demo,
}


def _attach(words: list[str]) -> None:
    """Attach the command that was asked for; all of them for help and for what does not exist."""
    wanted = _GROUPS.get(words[0]) if words else None
    for attach in (wanted,) if wanted is not None else dict.fromkeys(_GROUPS.values()):
        attach()


def main(words: list[str]) -> None:
    """Run the command that `words` name. Raises Stop."""
    _attach(words)
    app(words)
