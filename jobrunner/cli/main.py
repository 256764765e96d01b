"""Entry point of the command `jobrunner`.

`check` runs at every save in an editor, and `agent run` stays for months: neither loads what only the other
commands need.
"""

import os
import sys
from pathlib import Path

from jobrunner.cli.errors import Stop
from jobrunner.cli.printable import printable_lines


def main() -> None:
    """Run the command that the words of this process name."""
    try:
        _run(sys.argv[1:])
    except Stop as stop:
        print(f"jobrunner: {printable_lines(str(stop))}", file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run(words: list[str]) -> None:
    match words:
        case ["check", *rest]:
            from jobrunner.cli.check import main as check

            sys.exit(check(rest))
        case ["agent", "run", policy] if not policy.startswith("-"):
            from jobrunner.cli.agent_run import run_agent

            sys.exit(run_agent(Path(policy)))
        case _:
            from jobrunner.cli.app import main as run

            run(words)


if __name__ == "__main__":
    main()
