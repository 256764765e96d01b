"""Values shaped like identifiers of people: disclosure-rules.md, SDC022. Patterns are linear in time."""

import re
from collections.abc import Iterator

HEALTH_NUMBER = "health number"
INSURANCE_NUMBER = "national insurance number"
HEX = "long hexadecimal number"

# Each part has a fixed or a bounded length, and no two parts can split a text in two ways for long.
_SHAPES = {
    HEALTH_NUMBER: r"\d{3}[ -]?\d{3}[ -]?\d{4}",
    "UUID": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    HEX: r"(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})",
    INSURANCE_NUMBER: r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]",
    "postcode": r"[A-Z]{1,2}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{2}",
    "e-mail address": r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}",
    "phone number": r"(?:\+44 ?|0)\d{2,4}[ -]?\d{3,4}[ -]?\d{3,4}",
}
_NAMES = {f"k{index}": name for index, name in enumerate(_SHAPES)}
_ANY = "|".join(f"(?P<k{index}>{shape})" for index, shape in enumerate(_SHAPES.values()))
_WHOLE = re.compile(f"(?:{_ANY})", re.ASCII)
_TOKEN = re.compile(rf"(?<![\w.%+-])(?:{_ANY})(?![\w@]|\.\d)", re.ASCII)
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{2,6})?")
_SHORTEST = 5


def shape_of(cell: str) -> str | None:
    """The kind of identifier that the whole cell is shaped like, or None."""
    if len(cell) < _SHORTEST:
        return None
    found = _WHOLE.fullmatch(cell)
    return _NAMES[str(found.lastgroup)] if found else None


def tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Every identifier-shaped token of a text: (kind, token, offset)."""
    for found in _TOKEN.finditer(text):
        yield _NAMES[str(found.lastgroup)], found.group(), found.start()


def is_health_number(text: str) -> bool:
    """Whether ten digits (spaces, hyphens apart) end in their check digit: weights 10 to 2, modulo 11."""
    digits = [int(sign) for sign in text if sign not in " -"]
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    check = 11 - sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return digits[9] == (0 if check == 11 else check)


def is_compact_date(text: str) -> bool:
    """Whether a whole number is a date or time written without separators."""
    return _DATE.fullmatch(text) is not None
