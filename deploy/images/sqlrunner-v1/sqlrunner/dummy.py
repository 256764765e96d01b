"""Where there is no database: made-up rows in the place of those that the query would give."""

import gzip
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqlrunner.csv_file import compressed, write_csv
from sqlrunner.database import Row
from sqlrunner.output import Kind, kind_of, whole_file
from sqlrunner.problems import Problem


def write_dummy(dummy: Path, output: Path) -> None:
    """Write the dummy data file to the output, in the kind that its suffix asks for. Raises Problem.

    A csv gives its text unchanged. From csv to arrow, pyarrow chooses the types by the values.
    """
    given, wanted = kind_of(dummy), kind_of(output)
    try:
        with dummy.open("rb") as source, whole_file(output) as target:
            if given is wanted:
                shutil.copyfileobj(source, target)
            elif given is Kind.ARROW:
                _from_arrow(source, target, wanted)
            elif wanted is Kind.ARROW:
                _to_arrow(_text(source, given), target)
            else:
                with compressed(target, wanted) as text:
                    shutil.copyfileobj(_text(source, given), text)
    except FileNotFoundError as error:
        raise Problem(f"There is no dummy data file {dummy}. Correct the path in the command.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unlike_its_suffix(dummy) from error


def _text(source: BinaryIO, kind: Kind) -> Any:
    return gzip.GzipFile(fileobj=source) if kind is Kind.CSV_GZ else source


def _to_arrow(source: Any, target: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.csv

    from sqlrunner.arrow_file import write_arrow

    try:
        table = pyarrow.csv.read_csv(source)
    except pa.ArrowException as error:
        raise Problem(f"The dummy data are not a csv: {str(error).splitlines()[0]}.") from error
    write_arrow(target, table.schema, table.to_batches())


def _from_arrow(source: BinaryIO, target: BinaryIO, wanted: Kind) -> None:
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowException as error:
        raise Problem("The dummy data file is not an Arrow IPC file, as its suffix says.") from error
    write_csv(target, wanted, reader.schema.names, _rows(reader))


def _rows(reader: Any) -> Iterator[list[Row]]:
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _unlike_its_suffix(dummy: Path) -> Problem:
    return Problem(f"The dummy data file {dummy} is not what its suffix says.")
