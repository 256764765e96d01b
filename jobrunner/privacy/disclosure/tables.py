"""Tables in files: disclosure-rules.md section 3.1, as far as the rules at collection need."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobrunner.privacy.disclosure.rulebook import Limits

_DELIMITERS = ",;\t|"
_SNIFFED_LINES = 50
_GAP = re.compile(r"(?<=\S)(?:  +)(?=\S)")
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d*)?(?:[eE][-+]?\d+)?%?")
_ANY_SEPARATOR = re.compile(r"[,\t|]|\S  +\S")
_RULE_LINE = re.compile(r"[\s|:+=-]+")


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `index` counts from 1 in the file. `lines`: the file line of each row; `header` is row 0.

    `origin`: csv, text, json or lines. At most one row and one column over the limit are kept.
    """

    index: int
    origin: str
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: Sequence[int]
    pointer: str | None = None

    @property
    def width(self) -> int:
        """The number of columns of its widest row."""
        return max([len(self.header), *map(len, self.rows)])

    def column(self, index: int) -> list[str]:
        """The cells of one column (from 0) without its header; a missing cell is empty."""
        return [row[index].strip() if index < len(row) else "" for row in self.rows]


def is_number(cell: str) -> bool:
    """Whether a cell is one number, perhaps with separators or a percent sign."""
    return _NUMBER.fullmatch(cell) is not None


def delimited(text: str, suffix: str, limits: Limits, first_index: int = 1) -> list[Table]:
    """The table of a csv or tsv, and a second reading of it by lines where a quoted cell holds a line end.

    The second reading is there because one stray quote can hide a whole table in one cell. Raises
    csv.Error for a cell that is too long for the parser.
    """
    delimiter = _delimiter(text, suffix)
    rows, lines = _read(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), limits)
    if not rows:
        return []
    tables = [Table(first_index, suffix, tuple(rows[0]), rows[1:], lines[1:])]
    if any("\n" in cell or "\r" in cell for row in rows for cell in row):
        plain = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE)
        rows, lines = _read(plain, limits)
        tables.append(Table(first_index + 1, "lines", tuple(rows[0]), rows[1:], lines[1:]))
    return tables


def _read(reader: Iterator[list[str]], limits: Limits) -> tuple[list[list[str]], list[int]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    cells = 0
    for row in reader:
        if not any(row):
            continue
        rows.append(row[: limits.columns + 1])
        lines.append(getattr(reader, "line_num", 0))
        cells += len(row)
        # The header and one row over the limit, so that the rule on sizes can tell.
        if len(rows) > limits.rows + 1 or cells > limits.cells:
            break
    titles = _titles(rows)
    return rows[titles:], lines[titles:]


def _titles(rows: list[list[str]]) -> int:
    """How many rows with one cell stand above a header with several."""
    several = (index for index, row in enumerate(rows) if sum(map(bool, row)) > 1)
    return next(several, 0)


def _delimiter(text: str, suffix: str) -> str:
    usual = "\t" if suffix == "tsv" else ","
    counts: Counter[str] = Counter()
    for line in io.StringIO(text[: 1 << 16]).readlines()[:_SNIFFED_LINES]:
        counts.update({sign: 1 for sign in _DELIMITERS if sign in line})
    if not counts or counts[usual] == max(counts.values()):
        return usual
    return counts.most_common(1)[0][0]


def in_text(text: str, limits: Limits, first_index: int = 1) -> list[Table]:
    """Runs of three or more lines with the same number of commas, tabs, pipes or gaps of 2+ spaces.

    Stops at one table over the limit.
    """
    lines = text.splitlines()
    tables: list[Table] = []
    start = 0
    while start < len(lines) and len(tables) <= limits.tables_per_file:
        if not _ANY_SEPARATOR.search(lines[start]):
            start += 1
            continue
        kind, end = max(((kind, _run_end(lines, start, kind)) for kind in ",\t| "), key=lambda one: one[1])
        if end - start < 3:
            start += 1
            continue
        rows = [_split(line, kind) for line in lines[start:end] if not _RULE_LINE.fullmatch(line)]
        numbers = [number for number in range(start, end) if not _RULE_LINE.fullmatch(lines[number])]
        if rows:
            has_header = not any(is_number(cell) for cell in rows[0])
            header = tuple(rows[0]) if has_header else ("",) * len(rows[0])
            skip = 1 if has_header else 0
            index = first_index + len(tables)
            most = limits.rows + 1 + skip
            tables.append(
                Table(index, "text", header, rows[skip:most], [one + 1 for one in numbers[skip:most]])
            )
        start = end
    return tables


def _separators(line: str, kind: str) -> int:
    return len(_GAP.findall(line.strip())) if kind == " " else line.count(kind)


def _split(line: str, kind: str) -> list[str]:
    cells = _GAP.split(line.strip()) if kind == " " else line.split(kind)
    stripped = [cell.strip() for cell in cells]
    if kind == "|" and stripped[0] == "" and stripped[-1] == "" and len(stripped) > 2:
        return stripped[1:-1]
    return stripped


def _run_end(lines: list[str], start: int, kind: str) -> int:
    """One past the last line of the run that begins at `start`, which is `start` where there is none."""
    wanted = _separators(lines[start], kind)
    if wanted == 0:
        return start
    end = start
    while end < len(lines) and _separators(lines[end], kind) == wanted:
        # One separator alone is common in prose: then a side must be a number, but for the header.
        if wanted == 1 and end > start and not any(is_number(cell) for cell in _split(lines[end], kind)):
            break
        end += 1
    return end
