"""What a study's folder lacks: scripts (SF001), images (SF002) and inputs (SF003) that its file names.

These are warnings of `jobrunner check` for a folder and no part of the format: they never make a file
invalid, and `--json` does not have them. They are guesses from the words of commands, so they only speak of
words that can hardly be anything else. A file is asked for, never opened, and only inside the folder.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobrunner.pipeline.loading import read_tree
from jobrunner.pipeline.model import RETIRED_RUNTIMES, RUNTIMES, Action, Pipeline, Problem
from jobrunner.pipeline.nodes import Node
from jobrunner.pipeline.patterns import PatternSet
from jobrunner.pipeline.suggestions import Comparisons, Suggestions
from jobrunner.pipeline.wording import listing, quote

#: File types of programs that a runtime is given by name.
_SCRIPT_TYPES = frozenset({".py", ".r", ".rmd", ".do", ".sql", ".ipynb"})

#: File types of data; a word of a command that ends in one, with a folder before it, names a file.
_DATA_TYPES = frozenset({".csv", ".gz", ".arrow", ".feather", ".parquet", ".dta", ".rds", ".json", ".txt"})

#: No more names of one folder are looked at for a suggestion.
_MOST_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class _Study:
    folder: Path
    pipeline: Pipeline
    #: Every pattern of the file, and the action that makes it.
    patterns: PatternSet
    makers: dict[str, str]
    #: What looking for files that were meant may cost, all actions together.
    comparisons: Comparisons


def missing_beside(folder: Path, data: bytes, pipeline: Pipeline) -> tuple[Problem, ...]:
    """The warnings about a valid file, in file order; `data` is its text, from which places are taken."""
    makers = {pattern: action.id for action in pipeline.actions.values() for pattern, _ in action.patterns()}
    study = _Study(folder, pipeline, PatternSet(makers), makers, Comparisons())
    places = _run_places(data)
    return tuple(
        Problem(rule, "warning", places[action.id].line, places[action.id].column, action.id, message)
        for action in pipeline.actions.values()
        for rule, message in (*_image(action), *_files(study, action))
    )


def _run_places(data: bytes) -> dict[str, Node]:
    """Action id -> the value of its `run`."""
    root, _ = read_tree(data)
    actions = root.entries["actions"][1].entries if root is not None else {}
    return {name: action.entries["run"][1] for name, (_, action) in actions.items()}


def _image(action: Action) -> Iterator[tuple[str, str]]:
    """A name that is no runtime is a reusable action; one that nearly is a runtime is a slip of the pen."""
    if action.image in RUNTIMES or action.image in RETIRED_RUNTIMES:
        return
    hint = Suggestions(sorted(RUNTIMES)).hint(action.image)
    if hint:
        used = quote(f"{action.image}:{action.image_version}")
        message = f"Action {quote(action.id)} uses {used}, which is no runtime, so a reusable action of that"
        yield "SF002", f"{message} name would be fetched.{hint}"


def _files(study: _Study, action: Action) -> Iterator[tuple[str, str]]:
    own = PatternSet(pattern for pattern, _ in action.patterns())
    is_runtime = action.image in RUNTIMES
    for word in dict.fromkeys(_named_files(action.argv)):
        path = PurePosixPath(word)
        kind = path.suffix.lower()
        if _is_there(study.folder, path) or own.matching(word):
            continue
        if kind in _SCRIPT_TYPES and is_runtime:
            yield from _missing(study, action, word, "SF001", "runs or reads")
        elif kind in _DATA_TYPES and len(path.parts) > 1:
            yield from _missing(study, action, word, "SF003", "names")


def _missing(study: _Study, action: Action, word: str, rule: str, verb: str) -> Iterator[tuple[str, str]]:
    """A file that the folder lacks is no fault if an action that is needed makes it."""
    makers = list(dict.fromkeys(study.makers[pattern] for pattern in study.patterns.matching(word)))
    if any(maker in action.needs for maker in makers):
        return
    start = f"Action {quote(action.id)} {verb} {quote(word)}, which is not in the folder"
    if makers:
        which = listing(makers)
        yield rule, f"{start}. {which} makes it: add that to `needs`."
        return
    hint = _nearest(study, PurePosixPath(word))
    yield rule, f"{start}, and no action makes it. Add the file, or fix the spelling.{hint}"


def _named_files(argv: Iterable[str]) -> Iterator[str]:
    """The words, and values of `name=value`, that can be a path inside the folder."""
    for word in argv:
        text = word.rpartition("=")[2]
        path = PurePosixPath(text)
        inside = not path.is_absolute() and ".." not in path.parts
        if text and inside and text.isprintable() and not set(text) & set(" *?[]{}:,$\\"):
            yield str(path)


def _is_there(folder: Path, path: PurePosixPath) -> bool:
    try:
        return (folder / path).is_file()
    except (OSError, ValueError):
        return False


def _nearest(study: _Study, path: PurePosixPath) -> str:
    """The file of the same folder that was probably meant."""
    if study.comparisons.left <= 0:
        return ""
    names: list[str] = []
    try:
        for entry in (study.folder / path.parent).iterdir():
            names.append(entry.name)
            if len(names) == _MOST_NAMES:
                break
    except OSError:
        return ""
    close = Suggestions(names, study.comparisons).closest(path.name)
    return f" Did you mean {quote(str(path.with_name(close)))}?" if close else ""
