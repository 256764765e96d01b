"""The database of the demo's data centre: the public cohort as one table of a SQLite file."""

import csv
import io
import sqlite3
from pathlib import Path
from typing import Final

DATASET: Final = "flchain"

# In the order of the columns of the csv, whose names are those of the R package: "sample.yr", "flc.grp".
_TABLE: Final = """\
CREATE TABLE flchain (
    id INTEGER PRIMARY KEY,
    age INTEGER NOT NULL,          -- years
    sex TEXT NOT NULL,             -- F or M
    sample_yr INTEGER NOT NULL,    -- calendar year of the blood sample
    kappa REAL NOT NULL,           -- free light chain, kappa, mg/dl
    "lambda" REAL NOT NULL,        -- free light chain, lambda, mg/dl
    flc_grp INTEGER NOT NULL,      -- tenth of the cohort by kappa + lambda, 1 to 10
    creatinine REAL,               -- mg/dl
    mgus TEXT NOT NULL,            -- whether a monoclonal gammopathy was known: yes or no
    futime INTEGER NOT NULL,       -- days from the sample to death or to the last contact
    death TEXT NOT NULL,           -- dead or alive
    chapter TEXT                   -- chapter of the ICD-9 of the cause of death
) STRICT
"""
_COLUMNS: Final = 11
_INSERT: Final = f"INSERT INTO flchain VALUES (NULL{', ?' * _COLUMNS})"  # noqa: S608 - nothing from outside
# Nobody may change it in place: jobs read the same file.
_MODE: Final = 0o444


def make(cohort: bytes, place: Path) -> None:
    """Write the cohort, csv as flchain.load gives it, to the new file `place`, mode 0444.

    Its folder is made, closed to others. A missing value is NULL.
    """
    place.parent.mkdir(mode=0o700)
    header, *rows = csv.reader(io.StringIO(cohort.decode("ascii")))
    if len(header) != _COLUMNS:
        raise ValueError(f"the cohort has {len(header)} columns, not {_COLUMNS}")
    connection = sqlite3.connect(place)
    try:
        with connection:
            connection.execute(_TABLE)
            # A column of numbers turns the text of a number into one, and refuses any other text.
            connection.executemany(_INSERT, ([value or None for value in row] for row in rows))
    finally:
        connection.close()
    place.chmod(_MODE)
