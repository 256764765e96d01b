"""The studies of project_templates: which there are, and how one becomes a study of one's own."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

# Name of the folder, and what is in it in a few words.
TEMPLATES: Final = MappingProxyType(
    {
        "python": "rows, then tables, models, a figure and a report in Python",
        "r": "rows, then tables, models and a figure in R",
        "sql-only": "tables counted by the database itself; no other program",
    }
)
# What every study gets beside its template: editor, git and workflow settings.
_FOR_ALL: Final = "every-study"
# What running a template in its place leaves behind.
_LEFT_OUT: Final = frozenset({"output", "__pycache__", ".jobrunner", ".pytest_cache"})


class TemplateProblem(Exception):
    """No study could be made; the text is one sentence that says what to do."""


def template(name: str) -> Path:
    """The folder of a template: of the checkout this runs from, else of the installed wheel.

    Raises TemplateProblem when this program came without it.
    """
    package = Path(__file__).resolve().parent
    for root in (package.parent, package / "_shipped"):
        place = root / "project_templates" / name
        if place.is_dir():
            return place
    raise TemplateProblem(f"the template {name!r} is not beside this program; install jobrunner again.")


def copy(name: str, target: Path) -> None:
    """Make a study of the template `name` in `target`, a folder that is empty or not there yet.

    A folder with nothing but a git repository counts as empty. No file is ever written over. Raises
    TemplateProblem.
    """
    try:
        _require_empty(target)
        for source in (template(_FOR_ALL), template(name)):
            _copy_files(source, target)
    except ValueError as error:
        raise TemplateProblem(f"{str(target)!r} cannot be the name of a folder: {error}.") from error
    except OSError as error:
        where = error.filename or target
        raise TemplateProblem(f"cannot write {where}: {error.strerror}. Name a folder of yours.") from error


def _require_empty(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise TemplateProblem(f"{target} is a file, not a folder. Name a folder that is new or empty.")
    found = sorted(path.name for path in target.iterdir() if path.name != ".git")
    if found:
        raise TemplateProblem(
            f"{target} is not empty: it has {found[0]!r}. Nothing was changed; name a new or an empty folder."
        )


def _copy_files(source: Path, target: Path) -> None:
    """Copy contents, not modes: what is installed may be read-only, a study is there to be changed."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir():
            _copy_files(path, target / path.name)
        else:
            with (target / path.name).open("xb") as file:
                file.write(path.read_bytes())
