"""`jobrunner check`: all that is wrong with a project.yaml, without network (project-yaml.md section 8)."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from jobrunner.pipeline.loading import load
from jobrunner.pipeline.model import Loaded, Problem
from jobrunner.pipeline.text import MAX_BYTES

VALID, INVALID, UNREADABLE = 0, 1, 2

FILE_NAME = "project.yaml"
_FORMS = ("text", "json", "github")


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line (project-yaml.md section 8, exit status)."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNREADABLE, f"jobrunner check: {message}. Try `jobrunner check --help`.\n")


def main(words: list[str]) -> int:
    """Run the command with the words after `check`; its exit status."""
    parser = _Parser(
        prog="jobrunner check",
        description="Check a project.yaml: every mistake at once, with line, column and how to mend it. "
        "For a folder, its project.yaml is checked, and whether scripts, images and inputs that it names "
        "are there. Exit status: 0 valid, 1 invalid, 2 unreadable.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "path",
        nargs="?",
        metavar="FILE|DIR",
        help="the file, or the folder of a study [default: this folder]",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object; takes a file only")
    form.add_argument(
        "--format", choices=_FORMS, default="text", help="text, json or workflow annotations [default: text]"
    )
    asked = parser.parse_args(words)
    return check(asked.path, form="json" if asked.json else asked.format)


def check(path: str | None, *, form: str = "text") -> int:
    """Check a file, or a study's folder, and print what was found; the exit status is 0, 1 or 2.

    Without a path it is the folder in which the command runs. `form` is text, json or github; json is about
    a file only. If the file cannot be read, standard output stays empty and one line on standard error says
    why.
    """
    wanted = Path(path) if path is not None else Path(FILE_NAME if form == "json" else ".")
    folder = wanted if form != "json" and _is_folder(wanted) else None
    file = wanted if folder is None else folder / FILE_NAME
    # A name is shown as it was typed; pathlib would drop a leading `./`.
    shown = str(file) if folder is not None or path is None else path
    try:
        data = _read(file)
    except IsADirectoryError:
        return _unreadable(shown, f"it is a folder; name the file, such as {str(file / FILE_NAME)!r}")
    except OSError as error:
        return _unreadable(shown, error.strerror or str(error))
    except ValueError as error:
        # A path with a NUL in it.
        return _unreadable(shown, str(error))
    loaded = load(data)
    if form == "json":
        from jobrunner.cli.check_json import as_json

        _print(as_json(loaded))
        return VALID if loaded.valid else INVALID
    problems = loaded.problems if folder is None else (*loaded.problems, *_beside(folder, data, loaded))
    if form == "github":
        from jobrunner.cli.check_github import as_annotations

        _print(as_annotations(shown, problems))
    else:
        from jobrunner.cli.check_text import as_text

        _print(as_text(shown, problems, data))
    print(f"jobrunner check: {_summary(shown, loaded, problems)}", file=sys.stderr)
    return VALID if loaded.valid else INVALID


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except ValueError:
        return False


def _read(path: Path) -> bytes:
    """No more than it takes to see that a file is too long: it may be a device without an end."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _unreadable(shown: str, why: str) -> int:
    print(f"jobrunner check: cannot read {shown!r}: {why}", file=sys.stderr)
    return UNREADABLE


def _beside(folder: Path, data: bytes, loaded: Loaded) -> tuple[Problem, ...]:
    """What the folder lacks; nothing for a file with errors, whose actions are not known."""
    if loaded.pipeline is None:
        return ()
    from jobrunner.cli.check_folder import missing_beside

    return missing_beside(folder, data, loaded.pipeline)


def _summary(shown: str, loaded: Loaded, problems: tuple[Problem, ...]) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    parts = [_count(len(loaded.pipeline.actions), "action")] if loaded.pipeline is not None else []
    parts.append(_count(errors, "error") if errors else "no errors")
    if warnings:
        parts.append(_count(warnings, "warning"))
    return f"{shown}: {', '.join(parts)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print(text: str) -> None:
    """Write UTF-8 whatever the locale says; a path that is no UTF-8 comes out as it went in."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
