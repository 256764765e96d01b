"""Disclosure control for counts: remove the small ones first, then round the rest.

A count of 1 to 7 could point at a person, so it is not printed. The others are rounded to the nearest 5,
so that two tables cannot be subtracted from each other to find a small group. Everything that is printed
beside a count (a total, a percentage, a survival estimate) is worked out from the rounded counts, never
from the true ones.
"""

from pathlib import Path

import pandas as pd

REDACT_AT_OR_BELOW = 7
ROUND_TO = 5
REDACTED = "[REDACTED]"


def safe_counts(counts: pd.Series) -> pd.Series:
    """True counts -> counts fit to print: whole numbers, missing where the count was 1 to 7. Zero stays."""
    rounded = ((counts + ROUND_TO // 2) // ROUND_TO * ROUND_TO).astype("Int64")
    return rounded.mask((counts > 0) & (counts <= REDACT_AT_OR_BELOW))


def write_table(table: pd.DataFrame, path: str, counts: list[str]) -> None:
    """Write a table of safe counts as CSV. A missing value in one of the columns `counts` prints as redacted."""
    printable = table.copy()
    for column in counts:
        printable[column] = printable[column].astype("string").fillna(REDACTED)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    printable.to_csv(path, index=False)
