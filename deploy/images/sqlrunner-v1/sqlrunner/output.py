"""The file that an action writes: its kind by suffix, and whole or not there at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from sqlrunner.problems import Problem


class Kind(Enum):
    """The kinds of file that hold a table, by suffix."""

    CSV = ".csv"
    CSV_GZ = ".csv.gz"
    ARROW = ".arrow"


def kind_of(path: Path) -> Kind:
    """The kind of a file by its name. Raises Problem."""
    for kind in Kind:
        if path.name.endswith(kind.value) and path.name != kind.value:
            return kind
    raise Problem(f"{path} must end in .csv, .csv.gz or .arrow.")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file under another name beside `path`, renamed at the end; removed if something goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
