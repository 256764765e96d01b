"""Settings of the whole test-suite."""

import os

from hypothesis import settings

# make test-fast looks at fewer examples of each property; make test at all of them.
settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile("whole", deadline=None)
settings.load_profile("fast" if os.environ.get("JOBRUNNER_FAST") else "whole")
