"""A check's result as plain data, in the form of `jobrunner check --json` (project-yaml.md section 8)."""

from typing import Any

from jobrunner.pipeline.model import Action, Loaded, Problem
from jobrunner.pipeline.planning import run_all_order


def as_data(loaded: Loaded) -> dict[str, Any]:
    """What the JSON object of a check holds."""
    pipeline = loaded.pipeline
    return {
        "valid": loaded.valid,
        "version": loaded.version,
        "population_size": pipeline.population_size if pipeline else None,
        "actions": [_action(action) for action in pipeline.actions.values()] if pipeline else [],
        "run_all_order": list(run_all_order(pipeline.actions)) if pipeline else [],
        "problems": [_problem(problem) for problem in loaded.problems],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "id": problem.id,
        "severity": problem.severity,
        "line": problem.line,
        "column": problem.column,
        "action": problem.action,
        "message": problem.message,
    }


def _action(action: Action) -> dict[str, Any]:
    return {
        "id": action.id,
        "run": {"image": action.image, "version": action.image_version, "argv": list(action.argv)},
        "needs": list(action.needs),
        "outputs": {level: dict(named) for level, named in action.outputs.items()},
        "config": action.config,
        "is_database_action": action.is_database_action,
    }
