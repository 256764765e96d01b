"""Made-up rows for a researcher's own machine: from a schema, never from records.

    read = read_schema(data)
    read.problems, read.schema
    blocks(read.schema, "patients", rows=100, seed=1)

Nothing here looks at real rows. What a site publishes of its database is in `published.py`.
"""

from jobrunner.dummy_data.differences import differences, warnings_for
from jobrunner.dummy_data.reading import Read, read_schema
from jobrunner.dummy_data.schema import Column, Reference, Schema, Table
from jobrunner.dummy_data.tables import CannotDraw, blocks

__all__ = [
    "CannotDraw",
    "Column",
    "Read",
    "Reference",
    "Schema",
    "Table",
    "blocks",
    "differences",
    "read_schema",
    "warnings_for",
]
