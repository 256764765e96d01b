"""Rows as an Arrow IPC file, written batch by batch."""

from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa


def write_arrow(file: BinaryIO, schema: Any, batches: Iterable[Any]) -> None:
    """Write record batches that all have the schema."""
    with pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
