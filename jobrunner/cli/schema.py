"""`jobrunner schema`: what an editor needs to help with a project.yaml."""

import json


def schema() -> None:
    """Print the JSON Schema of project.yaml, for editors."""
    from jobrunner.pipeline.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=True))
