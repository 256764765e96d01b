"""Settings of the whole test-suite."""

import os

import pytest
from hypothesis import Phase, settings

from tests.fixtures import databases

# make test-fast looks at fewer examples of each property; make test at all of them.
settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile("whole", deadline=None)
# Where a protection is taken out, that some example fails is enough: no smaller one is looked for.
settings.register_profile("mutants", deadline=None, phases=(Phase.explicit, Phase.generate))
if os.environ.get("JOBRUNNER_MUTANTS"):
    settings.load_profile("mutants")
else:
    settings.load_profile("fast" if os.environ.get("JOBRUNNER_FAST") else "whole")

# Before anything reads Django's settings.
_server = databases.start_server()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this process started; the others only use it."""
    if _server is not None:
        _server.remove()
