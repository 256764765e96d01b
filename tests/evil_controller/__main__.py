"""Tells every lie to real agents and prints what came of each: python -m tests.evil_controller"""

import re
import sys
import tempfile
import time
from pathlib import Path

from tests.evil_controller.lie import Lie
from tests.evil_controller.parade import TABLE, Seen, open_parade


def faults(lie: Lie, seen: Seen) -> list[str]:
    """In what the agent did not do as the table says."""
    wire = lie.reason if lie.heard == "wire" else ""
    checks = {
        f"on the wire: {seen.wire!r}": seen.wire == wire,
        f"in the journal: {seen.journal}": lie.heard == "log" or seen.journal == (lie.reason, lie.detail),
        f"the site's line: {seen.line!r}": re.search(lie.line, seen.line) is not None,
        "not in the status": lie.heard == "log" or seen.status,
        "a job was claimed": not (seen.about is None and seen.claimed),
        f"{seen.containers} containers": seen.containers == 0,
    }
    return [fault for fault, holds in checks.items() if not holds]


def row(lie: Lie, seen: Seen) -> str:
    """One line of the table."""
    detail = "/".join(word for word in seen.journal if word)
    return f"{lie.id:26} {seen.wire or '-':24} {detail or '-':34} {seen.containers:3}  {seen.line[:100]}"


def main() -> int:
    """Print the table; 1 when a lie had another effect than it says, or a canary got out."""
    began, wrong = time.monotonic(), 0
    print(f"{'lie':26} {'on the wire':24} {'in the journal':34} made  the site's own line")
    with tempfile.TemporaryDirectory() as folder, open_parade(Path(folder)) as parade:
        for lie in TABLE:
            seen = parade.seen(lie)
            print(row(lie, seen))
            for fault in faults(lie, seen):
                wrong += 1
                print(f"    WRONG: {fault}")
        containers = sum(parade.seen(lie).containers for lie in TABLE)
        leaked, unlisted = parade.leaked(), parade.unlisted()
        size = sum(len(setting.controller.received) for setting in parade.settings)
        planted = sum(len(setting.canaries) for setting in parade.settings)
    print(
        f"{len(TABLE)} lies in {time.monotonic() - began:.1f} s; containers made or started: {containers}; "
        f"in {size} bytes received: {leaked or 'none'} of {planted} canaries, "
        f"{unlisted or 'nothing'} beside the closed lists."
    )
    return 1 if wrong or leaked or unlisted or containers else 0


if __name__ == "__main__":
    sys.exit(main())
