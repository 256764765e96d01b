"""Secrets that are shown once and kept as a digest (threats.md P12)."""

import hashlib
import secrets
from typing import Final

PERSONAL: Final = "jrp_"
BACKEND: Final = "jrb_"


def new(prefix: str) -> str:
    """A fresh secret of 256 random bits; the prefix says whose it is, also to secret scanners."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored. A plain hash is enough: nobody can guess 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
