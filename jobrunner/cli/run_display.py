"""What a local run looks like: lines that stay, and on a terminal also what runs just now."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from jobrunner.local.outcome import Outcome
    from jobrunner.local.staleness import Verdict

_MOST_OUTPUTS: Final = 5
_MOST_ACTIONS: Final = 5


def printable(text: str) -> str:
    """The text without signs that a terminal would obey: what a job or a file name says is not trusted."""
    return "".join(
        sign if sign.isprintable() or sign == "\t" else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(printable(line) for line in text.splitlines())


class Notes:
    """What is noted about actions that do not run. The same about several of them is said once."""

    def __init__(self) -> None:
        self._actions: dict[str, list[str]] = {}

    def add(self, action: str, verdict: "Verdict") -> None:
        """Keep the notes of this verdict."""
        for note in verdict.notes:
            self._actions.setdefault(note, []).append(action)

    def said(self) -> list[str]:
        """One line for each note, with the actions that it is about."""
        return [f"Note for {_some(actions)}: {note}" for note, actions in self._actions.items()]


class Display:
    """A running.Listener. Safe to use from several threads."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, float]] = {}
        self._notes = Notes()

    def say(self, text: str) -> None:
        """One line."""
        self._lines([(text, "")])

    def up_to_date(self, action: str, verdict: "Verdict") -> None:
        """See running.Listener."""
        self._notes.add(action, verdict)
        self._lines([(f"{action}: up to date: {'; '.join(verdict.why)}", "dim")])

    def say_notes(self) -> None:
        """At the end, what does not decide but may matter about the actions that did not run."""
        for note in self._notes.said():
            self._lines([(note, "yellow")])

    def starts(self, action: str, verdict: "Verdict") -> None:
        """See running.Listener."""
        self._lines([(f"{action}: runs: {'; '.join(verdict.why)}", "cyan")])

    def stage(self, action: str, stage: str) -> None:
        """See running.Listener."""
        with self._lock:
            began = self._running[action][1] if action in self._running else time.monotonic()
            self._running[action] = (stage, began)

    def ended(self, outcome: "Outcome") -> None:
        """See running.Listener."""
        with self._lock:
            self._running.pop(outcome.action, None)
        self._lines(_success(outcome) if outcome.succeeded else _failure(outcome))

    def _lines(self, lines: list[tuple[str, str]]) -> None:
        from rich.text import Text

        # In one piece, and without our lock: a live console asks us what runs while it prints.
        whole = Text("\n").join(Text(printable(text), style=style) for text, style in lines)
        self._console.print(whole, soft_wrap=True)

    def __rich__(self) -> "RenderableType":
        """What runs now, for a terminal."""
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        with self._lock:
            running = list(self._running.items())
        for action, (stage, began) in running:
            text = f"{printable(action)}: {stage}, {time.monotonic() - began:.0f} s"
            spinner = Spinner("dots", text)
            spinner.start_time = 0.0
            table.add_row(spinner)
        return table


@contextmanager
def display() -> Iterator[Display]:
    """A display on standard output, live when that is a terminal."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    shown = Display(console)
    if not console.is_terminal:
        yield shown
        return
    from rich.live import Live

    with Live(shown, console=console, refresh_per_second=8, transient=True):
        yield shown


def _some(actions: list[str]) -> str:
    more = len(actions) - _MOST_ACTIONS
    return ", ".join(actions[:_MOST_ACTIONS]) + (f" and {more} more" if more > 0 else "")


def _success(outcome: "Outcome") -> list[tuple[str, str]]:
    listed = sorted(outcome.outputs)
    first = ", ".join(listed[:_MOST_OUTPUTS])
    more = f" and {len(listed) - _MOST_OUTPUTS} more" if len(listed) > _MOST_OUTPUTS else ""
    lines = [(f"{outcome.action}: succeeded in {outcome.seconds:.1f} s: {first}{more}", "green")]
    lines += [
        (f"  {path} would not enter the medium area: {why}", "yellow")
        for path, why in sorted(outcome.refused.items())
    ]
    return [*lines, *((f"  {note}", "yellow") for note in outcome.notes)]


def _failure(outcome: "Outcome") -> list[tuple[str, str]]:
    first, *more = outcome.message.splitlines() or [""]
    lines = [(f"{outcome.action}: failed ({outcome.reason}): {first}", "red")]
    lines += [(f"  {line}", "red") for line in more]
    if outcome.tail:
        lines.append(("  The log ends so:", ""))
        lines += [(f"  | {line}", "dim") for line in outcome.tail]
    if outcome.cause is not None:
        lines.append((f"  Likely cause: {outcome.cause}", "bold"))
    if outcome.log:
        lines.append((f"  The whole log: {outcome.log}", ""))
    return lines
