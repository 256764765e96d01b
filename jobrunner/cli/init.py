"""`jobrunner init`: begin a study from a small complete one."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Annotated, Final

import typer

from jobrunner.cli.errors import Stop
from jobrunner.pipeline.schema import json_schema
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.templates import TEMPLATES, TemplateProblem, copy

_DEFAULT: Final = "python"
# What .vscode/settings.json of every template names.
_SCHEMA: Final = ".vscode/project-yaml.schema.json"


def init(
    first: Annotated[
        str, typer.Argument(metavar="TEMPLATE", help="Which study to copy.", show_default=False)
    ] = _DEFAULT,
    second: Annotated[str | None, typer.Argument(metavar="DIR", help="The folder to make.")] = None,
) -> None:
    """Begin a study: copy a small complete one into a new folder.

    \b
    TEMPLATE is one of these; python if you name none:
      python    rows, then tables, models, a figure and a report in Python
      r         rows, then tables, models and a figure in R
      sql-only  tables counted by the database itself; no other program

    DIR is a folder that is new or empty. Nothing is ever written over. Each study has made-up data, so
    that all of it runs on your own machine, tests, and a README that says what to change first.

    \b
    Example:
      jobrunner init r my-study
      cd my-study
      jobrunner check
      jobrunner run run_all
    """
    name, place = (first, second) if second is not None else (_DEFAULT, first)
    if second is None and first in TEMPLATES:
        raise Stop(f"init: {first} is a template; say which folder too: jobrunner init {first} my-study", 2)
    _require_template(name)
    if not place:
        raise Stop("init: the folder has no name. Name a folder that is new or empty.", 2)
    target = Path(place)
    try:
        copy(name, target)
        _write_schema(target / _SCHEMA)
    except TemplateProblem as problem:
        raise Stop(f"init: {problem}") from problem
    print(f"Made a study in {place}, from the template {name}: {TEMPLATES[name]}.")
    if _git_init(target):
        print("It is a git repository with nothing committed yet.")
    print("\nNext:")
    if target.resolve() != Path.cwd():
        print(f"  cd {shlex.quote(place)}")
    print("  jobrunner check\n  jobrunner run run_all\n\nREADME.md says what to change first.")


def _require_template(name: str) -> None:
    if name in TEMPLATES:
        return
    close = Suggestions(TEMPLATES).closest(name)
    meant = f" Did you mean {close}?" if close else ""
    raise Stop(f"init: there is no template {name!r}, only {', '.join(TEMPLATES)}.{meant}", 2)


def _write_schema(path: Path) -> None:
    """Write what `jobrunner schema` prints, with which an editor explains and completes project.yaml."""
    try:
        path.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=True) + "\n", encoding="ascii")
    except OSError as error:
        raise Stop(f"init: cannot write {path}: {error.strerror}.") from error


def _git_init(target: Path) -> bool:
    """Make the folder a git repository, where git is there and no work tree is around it yet."""
    folder = target.resolve()
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        return False
    # Without the variables with which a hook, say, points git at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        command = ["git", "init", "--quiet", "--initial-branch=main", str(folder)]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        # A study is one without git too; it needs it only to be asked for.
        return False
    return done.returncode == 0
