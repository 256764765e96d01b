"""Runs researchers' code where the health records are, so that the records never leave."""

__version__ = "0.1.0"
