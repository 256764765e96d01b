"""The query of an action: one statement that only reads."""

import re
from pathlib import Path
from typing import Final

from sqlrunner.problems import Problem

_MAX_BYTES: Final = 1_048_576
# Blanks and comments before the first word. A comment inside a comment is not known to every database.
_FIRST_WORD: Final = re.compile(r"(?:\s++|--[^\n]*+(?:\n|\Z)|/\*.*?\*/)*+([A-Za-z]*)", re.DOTALL)
SEVERAL: Final = "has several statements. An action runs one; make an action for each output."


def read_query(path: Path) -> str:
    """The text of the SQL file. Raises Problem unless it begins as a query does.

    That no second statement follows is for the database to tell, which knows its own quoting.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Problem(f"There is no SQL file {path}. Correct the path in the command.") from error
    except OSError as error:
        raise Problem(f"The SQL file {path} cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise Problem(f"The SQL file {path} is larger than 1 MiB.")
    try:
        # Editors of some systems put a byte order mark first.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(f"The SQL file {path} is not UTF-8 text. Save it as UTF-8.") from error
    if "\0" in text:
        raise Problem(f"The SQL file {path} has a NUL character in it.")
    begin = _FIRST_WORD.match(text)
    word = "" if begin is None else begin[1].upper()
    if word not in ("SELECT", "WITH"):
        raise Problem(f"The SQL file {path} must hold one statement that begins with SELECT or WITH.")
    return text
