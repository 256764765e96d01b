"""Reading the words of a header: disclosure-rules.md section 3.3."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Letters of other scripts that look like Latin ones, in lower case after NFKC.
_LOOK_ALIKES = str.maketrans("аеорсухіѕјһԁԛԝкмтвнոսօαορνικυτχεıł", "aeopcyxisjhdqwkmtbhnuoaopvikutxeil")
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_RUNS = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=4096)
def plain(header: str) -> str:
    """The header in NFKC, without invisible characters, look-alike letters made Latin; case is kept."""
    text = unicodedata.normalize("NFKC", header)
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return "".join(
        sign.lower().translate(_LOOK_ALIKES)
        if sign.islower()
        else sign.lower().translate(_LOOK_ALIKES).upper()
        for sign in text
    )


@lru_cache(maxsize=4096)
def words(header: str) -> tuple[str, ...]:
    """Its words in order, lower case: split at case change, digits and separators, and also unsplit."""
    text = plain(header)
    pieces = [piece.lower() for piece in _PIECES.findall(text)]
    runs = [run.lower() for run in _RUNS.findall(text)]
    return tuple(dict.fromkeys(pieces + runs))


def last_word(header: str) -> str:
    """The last word made of letters, or an empty text."""
    pieces = [piece.lower() for piece in _PIECES.findall(plain(header)) if _LETTERS.fullmatch(piece)]
    return pieces[-1] if pieces else ""


def names_one_of(header: str, names: Iterable[str]) -> bool:
    """Whether the header is one of `names`, whatever its separators, case, plural or trailing number."""
    letters = "".join(_LETTERS.findall(plain(header))).lower()
    known = {"".join(_LETTERS.findall(name)).lower() for name in names}
    return letters in known or letters.removesuffix("s") in known
