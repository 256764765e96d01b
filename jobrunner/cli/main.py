"""Entry point of the command `jobrunner`.

`check` runs at every save in an editor, so it loads nothing of what the other commands need.
"""

import os
import sys


def main() -> None:
    """Run the command that the words of this process name."""
    words = sys.argv[1:]
    try:
        if words[:1] == ["check"]:
            from jobrunner.cli.check import main as check

            sys.exit(check(words[1:]))
        from jobrunner.cli.app import main as run

        run(words)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
