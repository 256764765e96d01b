"""The words of the command, read once."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sqlrunner.problems import Problem

_USAGE = "sqlrunner [--dummy-data-file FILE] [--output FILE] [--log-file FILE] SQL_FILE"


@dataclass(frozen=True, slots=True)
class Arguments:
    """Paths as the action gives them, relative to the root of the study."""

    sql_file: Path
    output: Path
    dummy_data_file: Path | None
    log_file: Path | None


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing its usage and leaving with status 2."""

    def error(self, message: str) -> NoReturn:
        raise Problem(f"The command cannot be read: {message}. It is: {_USAGE}")


def parse(words: Sequence[str]) -> Arguments:
    """Read the words after the program's name. Raises Problem."""
    parser = _Parser(prog="sqlrunner", usage=_USAGE, allow_abbrev=False)
    parser.add_argument("sql_file", type=Path, metavar="SQL_FILE", help="one SELECT or WITH statement")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where the rows go: .csv, .csv.gz, .arrow"
    )
    parser.add_argument(
        "--dummy-data-file", type=Path, metavar="FILE", help="what to write where there is no database"
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="what was done, as JSON, without data")
    found = parser.parse_args(words)
    if found.output is None:
        # Standard output is the log of the action, and a log may be looked at.
        raise Problem("No output is given, and rows are never printed. Add --output FILE to the command.")
    return Arguments(found.sql_file, found.output, found.dummy_data_file, found.log_file)
