"""What must be there before the first action starts; everything that is missing is told at once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from jobrunner.dummy_data import warnings_for
from jobrunner.executors.docker_copy import CopyExecutor, LocalImage
from jobrunner.executors.image_build import ImageError
from jobrunner.executors.images import ensure
from jobrunner.local.problems import LocalProblem
from jobrunner.local.situation import find_images
from jobrunner.local.study_files import StudyFiles
from jobrunner.pipeline import Action
from jobrunner.pipeline.starting import image_name, is_too_long
from jobrunner.study.tree import EntryKind

DUMMY_OPTION: Final = "--dummy-data-file"

# A link may lead out of the study; what it leads to is no file of it.
_FILES: Final = (EntryKind.FILE, EntryKind.PROGRAM)


def check_actions(actions: Iterable[Action], study: StudyFiles) -> None:
    """Raises LocalProblem (not_supported, no_dummy_data), a line for each action that could not run here."""
    listed = list(actions)
    for word, fault in (("not_supported", _unsupported), ("no_dummy_data", _without_dummy_data)):
        found = [line for action in listed if (line := fault(action, study))]
        if found:
            raise LocalProblem(word, "\n".join(found))


def require_images(
    executor: CopyExecutor, actions: Iterable[Action], progress: Callable[[str], None]
) -> dict[str, LocalImage]:
    """The image of each of these actions, by name with version; ours are built where they are missing.

    Raises LocalProblem (image_missing).
    """
    wanted = {image_name(action) for action in actions}
    found = find_images(executor, wanted)
    missing = sorted(name for name in wanted if found[name] is None)
    faults = []
    for name in missing:
        try:
            ensure(name, progress)
        except (ImageError, OSError) as error:
            faults.append(f"There is no image for {name} here, and it could not be built: {error}.")
    if faults:
        raise LocalProblem("image_missing", "\n".join(faults))
    if missing:
        found.update(find_images(executor, set(missing)))
    return {name: image for name, image in found.items() if image is not None}


def _unsupported(action: Action, study: StudyFiles) -> str | None:
    del study
    if is_too_long(action, action.command()):
        return f"The command of action `{action.id}`, with its config, is too long to be started (PS036)."
    return None


def _without_dummy_data(action: Action, study: StudyFiles) -> str | None:
    if not action.is_database_action:
        return None
    path = dummy_file(action)
    if path is None:
        # ehrQL makes up rows itself, from the definition of the dataset.
        if action.image == "ehrql":
            return None
        return (
            f"Action `{action.id}` reads a database, and there is none here. Put made-up rows with the "
            f"columns of its query into a file of the study, and add `{DUMMY_OPTION} FILE` to its `run`."
        )
    if path not in study.kinds:
        ignored = (study.root / path).is_file()
        why = "git ignores it, so it is no file of the study" if ignored else "it is not there"
        return (
            f"Action `{action.id}` takes its dummy data from `{path}`, but {why}. Make it and add it to git."
        )
    return None


def dummy_file(action: Action) -> str | None:
    """The file of made-up rows that the command names; None when it names none."""
    for number, word in enumerate(action.argv):
        if word == DUMMY_OPTION and number + 1 < len(action.argv):
            return _plain(action.argv[number + 1])
        if word.startswith(f"{DUMMY_OPTION}="):
            return _plain(word.partition("=")[2])
    return None


def dummy_warnings(actions: Iterable[Action], study: StudyFiles) -> tuple[str, ...]:
    """Where made-up rows of these actions are not as a schema beside them declares, one sentence each."""
    files = dict.fromkeys(dummy_file(action) for action in actions if action.is_database_action)
    known = [path for path in files if path is not None and study.kinds.get(path) in _FILES]
    return tuple(warning for path in known for warning in warnings_for(Path(path), study.root))


def _plain(path: str) -> str:
    return path.removeprefix("/workspace/").removeprefix("./")
