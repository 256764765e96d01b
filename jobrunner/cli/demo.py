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
    from jobrunner.demo.programs import ProgramEnded
    from jobrunner.demo.show import Progress, Running

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
            all_well = _ask(up, progress, stay=not exit_when_done)
            if not exit_when_done:
                _serve(up)
    except DemoProblem as problem:
        logs = folder.absolute() / "logs"
        raise Stop(f"demo: {problem}" + (f"\nLogs lie in {logs}." if logs.is_dir() else "")) from problem
    raise typer.Exit(0 if all_well else 1)


def _ask(up: "Running", progress: "Progress", *, stay: bool) -> bool:
    """Whether every action succeeded. One can `stay` without an agent, though not without a controller."""
    from jobrunner.demo.programs import ProgramEnded

    try:
        results = up.ask(progress)
    except ProgramEnded as ended:
        if not stay or ended.name != up.agent.name:
            raise
        progress("the agent ended before every action had")
        return False
    all_well = all(result.succeeded for result in results)
    _print_table(results)
    _print_places(up, results)
    progress("all actions succeeded" if all_well else "not all actions succeeded")
    return all_well


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
        up.serve(lambda ended: _print_without_agent(up, ended))
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)


def _print_without_agent(up: "Running", ended: "ProgramEnded") -> None:
    """The agent was drained or aborted, or it failed; everything else goes on."""
    # 0: drained or aborted; 3: aborted, and something is left to be seen to at the next start.
    why = "" if ended.status in (0, 3) else f"\n{ended}"
    print(
        f"""
The agent has ended (status {ended.status}); git host, controller and public feed stay up.{why}
Jobs wait until it runs again. To start it, as root, in another terminal:
  {_command()} agent run {up.policy}
It is then that terminal's: end it there, before the next demo.""",
        flush=True,
    )


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
    print("\nThe data centre's database, handed to actions on sqlrunner:v1 only, and read-only:")
    print(f"  {up.folder.database}")
    _print_paths(
        "Highly sensitive outputs, for later actions only:",
        high,
        [path for result in results for path in result.highly_sensitive],
    )
    _print_paths(
        "Moderately sensitive outputs, for permitted people inside the data centre (none has left it):",
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
