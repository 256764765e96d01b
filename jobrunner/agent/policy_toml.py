"""The bytes of a policy file as plain values."""

import tomllib
from typing import Any


def toml_values(raw: bytes) -> dict[str, Any]:
    """The values of the file, arrays as tuples. Raises ValueError that goes on after "The file is"."""
    try:
        values: dict[str, Any] = _tuples(tomllib.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(f"not TOML: byte {error.start} is not UTF-8") from error
    except RecursionError:
        raise ValueError("not TOML of ours: its values lie too deep in each other") from None
    except ValueError as error:
        # The library's own class for what is not TOML, or Python's for a number of thousands of digits.
        raise ValueError(f"not TOML: {error}") from error
    return values


def _tuples(value: Any) -> Any:
    """TOML arrays as tuples, which is what strict validation of tuple fields takes."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
