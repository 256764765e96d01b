"""`jobrunner check`: all that is wrong with a project.yaml, without network (project-yaml.md section 8)."""

import json as json_format
import sys
from pathlib import Path

from jobrunner.pipeline import load
from jobrunner.pipeline.model import Loaded
from jobrunner.pipeline.reporting import as_data
from jobrunner.pipeline.text import MAX_BYTES

VALID, INVALID, UNREADABLE = 0, 1, 2


def check(path: str, json: bool) -> int:
    """Check the file and print what was found; the exit status is 0 valid, 1 invalid, 2 unreadable.

    With `json` one JSON object goes to standard output, else one line for each problem. If the file cannot
    be read, standard output stays empty and one line on standard error says why.
    """
    try:
        data = _read(Path(path))
    except OSError as error:
        print(f"jobrunner check: cannot read {path!r}: {error.strerror or error}", file=sys.stderr)
        return UNREADABLE
    except ValueError as error:
        # A path with a NUL in it.
        print(f"jobrunner check: cannot read {path!r}: {error}", file=sys.stderr)
        return UNREADABLE
    loaded = load(data)
    _print(_as_json(loaded) if json else _as_lines(path, loaded))
    if loaded.pipeline is not None and not json:
        print(f"jobrunner check: {path}: {len(loaded.pipeline.actions)} actions, no errors", file=sys.stderr)
    return VALID if loaded.valid else INVALID


def _read(path: Path) -> bytes:
    """No more than it takes to see that a file is too long: it may be a device without an end."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _as_json(loaded: Loaded) -> str:
    return json_format.dumps(as_data(loaded), ensure_ascii=False, allow_nan=False) + "\n"


def _as_lines(path: str, loaded: Loaded) -> str:
    return "".join(
        f"{path}:{problem.line}:{problem.column}: {problem.severity} {problem.id}: {problem.message}\n"
        for problem in loaded.problems
    )


def _print(text: str) -> None:
    """Write UTF-8 whatever the locale says; a path that is no UTF-8 comes out as it went in."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
