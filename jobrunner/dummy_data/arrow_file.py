"""Tables as Arrow IPC files. The library is large and few people need it, so it need not be installed."""

import importlib
from collections.abc import Iterable
from typing import Any, BinaryIO, Final

from jobrunner.dummy_data.schema import Table
from jobrunner.dummy_data.tables import Block

_TYPES: Final = {
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "str": "string",
    "category": "string",
    "date": "date32",
    "datetime": "timestamp[us]",
    "other": "null",
}


class ArrowMissing(Exception):
    """The library that writes Arrow is not installed. The text says what to do."""


def write_arrow(table: Table, blocks: Iterable[Block], file: BinaryIO) -> None:
    """Write the table, block by block. Raises ArrowMissing."""
    pa = load_pyarrow()
    schema = pa.schema(
        [pa.field(column.name, pa.type_for_alias(_TYPES[column.type])) for column in table.columns]
    )
    with pa.ipc.new_file(file, schema) as writer:
        for block in blocks:
            arrays = [pa.array(values, type=field.type) for values, field in zip(block, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def load_pyarrow() -> Any:
    """The module pyarrow. Raises ArrowMissing."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ArrowMissing(
            "Arrow files need the package pyarrow, which is not installed here. Write a .csv, which an "
            "action on sqlrunner:v1 turns into arrow itself, or `pip install pyarrow`."
        ) from error
