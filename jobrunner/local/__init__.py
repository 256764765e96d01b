"""Actions of a study on its author's own machine, on dummy data: the code of the agent, another workspace.

Files of the work tree go into a folder of their own, each action runs in the agent's sandbox, its outputs are
collected and checked as the agent would, and land in the work tree. `.jobrunner/` remembers what was run on
what, so that nothing runs twice for the same result.
"""
