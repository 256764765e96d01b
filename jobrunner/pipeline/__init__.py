"""`project.yaml` to a `Pipeline`, or to all its problems at once. Pure: bytes in, values out.

    loaded = load(data)
    loaded.valid, loaded.problems, loaded.pipeline

Nothing here opens a file, uses the network or looks at a setting. Importing it fails without libyaml.
"""

from jobrunner.pipeline.loading import load
from jobrunner.pipeline.model import LEVELS, RETIRED_RUNTIMES, RUNTIMES, Action, Loaded, Pipeline, Problem
from jobrunner.pipeline.patterns import PatternSet, literal_parent, matches
from jobrunner.pipeline.planning import Plan, RequestProblem, plan, run_all_order

__all__ = [
    "LEVELS",
    "RETIRED_RUNTIMES",
    "RUNTIMES",
    "Action",
    "Loaded",
    "PatternSet",
    "Pipeline",
    "Plan",
    "Problem",
    "RequestProblem",
    "literal_parent",
    "load",
    "matches",
    "plan",
    "run_all_order",
]
