"""Executors run one action of a study in a sandbox. base.py says what every one of them does."""
