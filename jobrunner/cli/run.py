"""`jobrunner run` and `jobrunner plan`: the actions of a study on this machine, on dummy data."""

import json as json_format
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from jobrunner.cli.run_display import Display
    from jobrunner.executors.docker_copy import CopyExecutor
    from jobrunner.local.code import Code
    from jobrunner.local.outcome import Outcome
    from jobrunner.local.planning import Step, Wish
    from jobrunner.local.problems import LocalProblem
    from jobrunner.local.situation import Situation
    from jobrunner.pipeline import Action, Pipeline

_DOING: Final = {"run": "runs", "maybe": "may run", "up_to_date": "up to date"}

Actions = Annotated[list[str], typer.Argument(help="Actions of project.yaml, or run_all.")]
Folder = Annotated[Path, typer.Option("--dir", "-C", help="The study's folder.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Run the named actions even if they are up to date.")]
ForceNeeds = Annotated[bool, typer.Option("--force-needs", help="Run all that they need again too.")]


def run(
    actions: Actions,
    fresh: Fresh = False,
    force_needs: ForceNeeds = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="How many run at once; else one for each core.")
    ] = None,
    folder: Folder = Path(),
) -> None:
    """Run actions on this machine, on dummy data, as a data centre would; only those that must run."""
    from jobrunner.cli.run_display import display
    from jobrunner.executors.base import EngineError, SandboxRefused
    from jobrunner.local.problems import LocalProblem

    # A shell starts programs in the background deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with display() as shown:
            outcomes = _run(folder.resolve(), actions, fresh, force_needs, jobs, shown)
            shown.say_notes()
            shown.say(_summary(outcomes))
    except LocalProblem as problem:
        raise Stop(_told(problem, folder)) from problem
    except (EngineError, SandboxRefused) as error:
        raise Stop(engine_help(str(error))) from error
    except OSError as error:
        raise Stop(f"A file could not be read or written: {error}.") from error
    except KeyboardInterrupt:
        print("jobrunner: stopped; what had succeeded stays, and nothing else is kept.", file=sys.stderr)
        raise typer.Exit(130) from None
    if not all(outcome.succeeded for outcome in outcomes):
        raise typer.Exit(1)


def plan(
    actions: Actions,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    fresh: Fresh = False,
    force_needs: ForceNeeds = False,
    folder: Folder = Path(),
) -> None:
    """Tell what `jobrunner run` would run, in which order, and why; and what is up to date, and why."""
    from jobrunner.local.planning import steps, wish
    from jobrunner.local.preflight import check_actions, check_recipes, to_build
    from jobrunner.local.problems import LocalProblem
    from jobrunner.local.situation import look, read_pipeline

    root = folder.resolve()
    try:
        pipeline = read_pipeline(root)
        wished = wish(pipeline, actions, fresh=fresh, force_needs=force_needs)
        codes = _codes(pipeline, wished)
        names = _images_of(pipeline, wished, codes)
        situation = look(root, pipeline, _images_if_any(root, names), codes)
        planned = steps(situation, wished)
        to_run = _to_run(situation, planned)
        warnings = (*_warnings(situation, wished), *to_build(to_run, situation.images))
    except LocalProblem as problem:
        raise Stop(_told(problem, folder)) from problem
    if json:
        print(json_format.dumps(_as_data(planned, warnings), ensure_ascii=True))
    else:
        _show(planned, warnings)
    try:
        check_actions(to_run, situation.study)
        check_recipes(to_run, situation.images)
    except LocalProblem as problem:
        raise Stop(_told(problem, folder)) from problem


def _show(planned: "list[Step]", warnings: tuple[str, ...]) -> None:
    from jobrunner.cli.printable import printable
    from jobrunner.cli.run_display import Notes

    for warning in warnings:
        print(printable(warning), file=sys.stderr)
    notes = Notes()
    for step in planned:
        notes.add(step.action, step.verdict)
        print(printable(f"{step.action}: {_DOING[step.doing]}: {_reason(step)}"))
    for note in notes.said():
        print(printable(note))


def _run(
    root: Path, actions: list[str], fresh: bool, force_needs: bool, jobs: int | None, shown: "Display"
) -> "list[Outcome]":
    from jobrunner.local.bench import open_executor, opened, places
    from jobrunner.local.planning import steps, wish
    from jobrunner.local.preflight import check_actions, require_images
    from jobrunner.local.running import run_all_of
    from jobrunner.local.situation import find_images, look, read_pipeline
    from jobrunner.local.state import State

    pipeline = read_pipeline(root)
    wished = wish(pipeline, actions, fresh=fresh, force_needs=force_needs)
    executor = open_executor(root)
    try:
        with State(root).locked():
            codes = _codes(pipeline, wished)
            names = _images_of(pipeline, wished, codes)
            situation = look(root, pipeline, find_images(executor, names), codes)
            for warning in _warnings(situation, wished):
                shown.say(warning)
            planned = steps(situation, wished)
            to_run = _to_run(situation, planned)
            if not to_run:
                for step in planned:
                    shown.up_to_date(step.action, step.verdict)
                return []
            check_actions(to_run, situation.study)
            built = require_images(executor, to_run, shown.say)
            situation = situation.with_images(built)
            with opened(executor, root) as bench:
                return run_all_of(bench, situation, wished, places(executor, jobs), shown)
    finally:
        executor.close()


def _to_run(situation: "Situation", planned: "list[Step]") -> "list[Action]":
    return [situation.code(step.action).action for step in planned if step.doing != "up_to_date"]


def _summary(outcomes: "list[Outcome]") -> str:
    if not outcomes:
        return "Nothing to run: everything that was asked for is up to date. --fresh runs it again."
    well = sum(outcome.succeeded for outcome in outcomes)
    failed = len(outcomes) - well
    return f"{well} succeeded." if not failed else f"{well} succeeded, {failed} did not."


def _codes(pipeline: "Pipeline", wished: "Wish") -> "dict[str, Code]":
    from jobrunner.local.code import reusable_codes

    return reusable_codes((pipeline.actions[name] for name in wished.order), frozenset(wished.options))


def _warnings(situation: "Situation", wished: "Wish") -> tuple[str, ...]:
    from jobrunner.local.preflight import dummy_warnings

    actions = [situation.code(name).action for name in wished.order]
    return (*situation.study.warnings, *dummy_warnings(actions, situation.study))


def _told(problem: "LocalProblem", folder: Path) -> str:
    """The message; errors of project.yaml as `jobrunner check` shows them."""
    from jobrunner.cli.check_text import as_text
    from jobrunner.local.problems import PipelineInvalid

    if not isinstance(problem, PipelineInvalid):
        return problem.message
    shown = as_text(str(folder / "project.yaml"), problem.problems, problem.data)
    return f"{problem.message}\n{shown}"


def _images_of(pipeline: "Pipeline", wished: "Wish", codes: "dict[str, Code]") -> set[str]:
    from jobrunner.pipeline.starting import image_name

    started = {name: code.action for name, code in codes.items()}
    return {image_name(started.get(name, pipeline.actions[name])) for name in wished.order}


def _images_if_any(root: Path, names: set[str]) -> dict[str, Any]:
    """The images as the engine has them; without an engine the plan says that nobody looked."""
    from jobrunner.executors.base import EngineError, SandboxRefused
    from jobrunner.local.bench import open_executor
    from jobrunner.local.situation import find_images

    executor: CopyExecutor | None = None
    try:
        executor = open_executor(root)
        return dict(find_images(executor, names))
    except (EngineError, SandboxRefused):
        return {}
    finally:
        if executor is not None:
            executor.close()


def _reason(step: "Step") -> str:
    why = "; ".join(step.verdict.why)
    if step.doing == "maybe":
        return f"{why}, but it runs if the outputs of {', '.join(step.waits_for)} come out otherwise"
    return why


def _as_data(planned: "list[Step]", warnings: tuple[str, ...]) -> dict[str, Any]:
    return {
        "actions": [
            {
                "action": step.action,
                "doing": step.doing,
                "why": list(step.verdict.why),
                "waits_for": list(step.waits_for),
                "notes": list(step.verdict.notes),
            }
            for step in planned
        ],
        "warnings": list(warnings),
    }


def engine_help(said: str) -> str:
    """What an engine's trouble is, and what to look at where it does not answer."""
    hint = " Is Docker running, and may you use it?" if "connect" in said else ""
    return f"{said}.{hint}"


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"jobrunner: stopping\n")
    sys.exit(128 + number)
