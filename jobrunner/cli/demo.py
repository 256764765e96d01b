"""`jobrunner demo`: all of it at once on this machine, on a real study and real public data."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from jobrunner.demo.outcome import ActionOutcome
    from jobrunner.demo.show import Running

_STYLES: Final = {"succeeded": "green", "failed": "red", "refused": "yellow", "cancelled": "magenta"}
_REPORT: Final = "output/report.md"
_PASSED_ON: Final = ("DEMO_DIR", "DEMO_EXIT", "XDG_CACHE_HOME", "COLUMNS", "TERM")


def demo(
    folder: Annotated[
        Path, typer.Option(envvar="DEMO_DIR", help="Everything that the demo makes lies in it.")
    ] = Path("demo"),
    exit_when_done: Annotated[
        bool,
        typer.Option("--exit", envvar="DEMO_EXIT", help="Do not stay: status 0 if all succeeded, else 1."),
    ] = False,
) -> None:
    """Run git host, controller and agent on this machine, and a real study through them."""
    _require_root()
    from jobrunner.demo.folder import DemoProblem
    from jobrunner.demo.show import running

    # A shell starts programs in the background deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    began = time.monotonic()

    def progress(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    try:
        with running(folder, progress) as up:
            results = up.ask(progress)
            all_well = all(result.succeeded for result in results)
            _print_table(results)
            _print_places(up, results)
            progress("all actions succeeded" if all_well else "not all actions succeeded")
            if not exit_when_done:
                _serve(up)
    except DemoProblem as problem:
        logs = folder.absolute() / "logs"
        raise Stop(f"demo: {problem}" + (f"\nLogs lie in {logs}." if logs.is_dir() else "")) from problem
    raise typer.Exit(0 if all_well else 1)


def _require_root() -> None:
    """The agent mounts disks and drives the engine, so it equals root. Goes on through sudo if need be."""
    if os.geteuid() == 0:
        return
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Stop("The demo runs a real agent, which needs root. Run it as root, or install sudo.")
    print("The demo runs a real agent, which needs root: going on through sudo.", flush=True)
    settings = [f"{name}={os.environ[name]}" for name in _PASSED_ON if name in os.environ]
    program = [sys.executable, "-P", "-m", "jobrunner.cli.main"]
    os.execv(sudo, [sudo, *settings, *program, *sys.argv[1:]])  # noqa: S606 - an argv list, no shell


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _serve(up: "Running") -> None:
    print(
        f"""
To go on as the researcher, in another terminal:
  . {up.folder.researcher} && cd {up.folder.study}
  {_command()} request model --watch

The public feed is at {up.feed} until you press Ctrl-C.""",
        flush=True,
    )
    try:
        up.serve()
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)


def _print_table(results: "list[ActionOutcome]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What came of it", title_justify="left")
    table.add_column("Action")
    table.add_column("State")
    for name in ("Seconds", "Highly sensitive", "Moderately sensitive", "Withheld"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            result.action,
            Text(result.state, style=_STYLES.get(result.state, "")),
            "" if result.seconds is None else f"{result.seconds:.1f}",
            *(
                str(len(paths))
                for paths in (result.highly_sensitive, result.moderately_sensitive, result.withheld)
            ),
        )
    Console().print(table)


def _print_places(up: "Running", results: "list[ActionOutcome]") -> None:
    """Where the outputs lie, and what went wrong."""
    high, medium = (up.workspace(area) for area in ("high", "medium"))
    print(f"\nThe data centre's database, which only the action extract could read:\n  {up.folder.database}")
    _print_paths(
        "Row-level data, for later actions only:",
        high,
        [path for result in results for path in result.highly_sensitive],
    )
    _print_paths(
        "Aggregates, for permitted people inside the data centre (nothing has left it):",
        medium,
        [path for result in results for path in result.moderately_sensitive],
    )
    _print_paths(
        "Refused by the file rules; each of these files says why:",
        medium,
        [f"{path}.txt" for result in results for path in result.withheld],
    )
    if (medium / _REPORT).exists():
        print(f"\nThe whole study on one page:\n  {medium / _REPORT}")
    for result in results:
        if not result.succeeded:
            print(f"\n{result.action}: {result.state}, {result.reason.replace('_', ' ')}. {result.why}")
            print(f"  its log: {result.log or 'none'}")
    if not all(result.succeeded for result in results):
        print(f"\nWhat only the data centre's admins see:\n  {_command()} agent status {up.policy}")


def _command() -> Path:
    """The program that a person would type."""
    return Path(sys.executable).with_name("jobrunner")


def _print_paths(heading: str, folder: Path, paths: list[str]) -> None:
    if paths:
        print(f"\n{heading}\n  {folder}/")
    for path in paths:
        print(f"    {path}")
