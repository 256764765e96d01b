"""What a terminal shows while actions run: it never waits for itself, and obeys nothing that a job said."""

import io
import threading

import pytest
from rich.console import Console
from rich.live import Live

from jobrunner.cli.run_display import Display, printable
from jobrunner.local.outcome import Outcome
from jobrunner.local.staleness import Verdict

pytestmark = pytest.mark.unit


def test_a_live_display_does_not_wait_for_itself() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    shown = Display(console)

    def one(name: str) -> None:
        shown.starts(name, Verdict(True, ("it has never succeeded here",)))
        for stage in ("preparing", "executing", "collecting"):
            shown.stage(name, stage)
        shown.ended(Outcome(action=name, reason="nonzero_exit", message="a\nb", tail=("\x1b]0;x\x07",)))

    def all_of_them() -> None:
        with Live(shown, console=console, refresh_per_second=50, transient=True):
            threads = [threading.Thread(target=one, args=(f"action{n}",), daemon=True) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    whole = threading.Thread(target=all_of_them, daemon=True)
    whole.start()
    whole.join(30)
    assert not whole.is_alive(), "the display waits for itself"
    for number in range(8):
        assert f"action{number}: failed (nonzero_exit): a" in written.getvalue()
    assert "\\x1b]0;x\\x07" in written.getvalue()
    assert "\x1b]" not in written.getvalue()


def test_signs_that_a_terminal_would_obey_are_shown_as_text() -> None:
    assert printable("a\tb é \x1b[2J \u202e \r\n") == "a\tb é \\x1b[2J \\u202e \\r\\n"
