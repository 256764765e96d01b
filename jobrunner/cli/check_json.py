"""The JSON object of `jobrunner check --json` (project-yaml.md section 8)."""

import json

from jobrunner.pipeline.model import Loaded
from jobrunner.pipeline.reporting import as_data


def as_json(loaded: Loaded) -> str:
    """One line with a line end."""
    return json.dumps(as_data(loaded), ensure_ascii=False, allow_nan=False) + "\n"
