"""The program: from the words of the command to a file, or to one or two sentences and status 1."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from sqlrunner.arguments import Arguments, parse
from sqlrunner.csv_file import write_csv
from sqlrunner.database import open_query
from sqlrunner.dummy import write_dummy
from sqlrunner.output import Kind, kind_of, whole_file
from sqlrunner.problems import Problem
from sqlrunner.query import read_query


def main(words: Sequence[str] | None = None) -> int:
    """Run with the words after the program's name, by default those of the process. Returns its status."""
    try:
        done = run(parse(sys.argv[1:] if words is None else words), os.environ)
    except Problem as problem:
        return _failed(str(problem))
    except MemoryError:
        return _failed("There was not enough memory. Ask for fewer or smaller columns.")
    except OSError as error:
        return _failed(f"A file could not be read or written: {error.strerror or 'no reason given'}.")
    except Exception as error:  # noqa: BLE001 - a traceback could quote a value
        return _failed(
            f"sqlrunner failed in a way that was not foreseen ({type(error).__name__}). Report this."
        )
    sys.stdout.write(f"{done}\n")
    return 0


def run(arguments: Arguments, environment: Mapping[str, str]) -> str:
    """Make the output. Returns a sentence without anything from the data. Raises Problem."""
    kind_of(arguments.output)
    sql = read_query(arguments.sql_file)
    if "DATABASE_URL" in environment:
        columns = _from_database(arguments, environment["DATABASE_URL"], sql)
        done = f"Wrote {arguments.output} (columns: {columns})."
    elif arguments.dummy_data_file is not None:
        write_dummy(arguments.dummy_data_file, arguments.output)
        done = f"There is no database here: wrote the dummy data to {arguments.output}."
    else:
        raise Problem(
            "There is no database here, since DATABASE_URL is not set. "
            "Give made-up rows with --dummy-data-file FILE."
        )
    if arguments.log_file is not None:
        said = {"sql_file": str(arguments.sql_file), "output": str(arguments.output), "message": done}
        with whole_file(arguments.log_file) as file:
            file.write(f"{json.dumps(said, indent=2)}\n".encode())
    return done


def _from_database(arguments: Arguments, url: str, sql: str) -> int:
    """Write the rows of the query. Returns how many columns there are."""
    output = arguments.output
    with open_query(url, sql, arguments.sql_file) as query, whole_file(output) as file:
        kind = kind_of(output)
        if kind is Kind.ARROW:
            from sqlrunner.arrow_file import write_arrow

            schema, record_batches = query.record_batches()
            write_arrow(file, schema, record_batches)
            return len(schema.names)
        columns, batches = query.rows()
        write_csv(file, kind, columns, batches)
        return len(columns)


def _failed(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


def leave(status: int) -> NoReturn:
    """End the process with this status, and with 1 where what it said cannot be written.

    Not by sys.exit: a thread of pyarrow that still holds a file would abort the process, now and then, while
    Python takes itself down. Everything is written and closed before.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 1
    os._exit(status)


if __name__ == "__main__":
    leave(main())
