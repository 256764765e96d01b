"""The code that an action runs: the study's own, or a reusable action's commit (project-yaml.md 6.9)."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.local.hashing import hash_study
from jobrunner.local.problems import LocalProblem
from jobrunner.local.study_files import StudyFiles, all_files
from jobrunner.pipeline import Action
from jobrunner.pipeline.reusable import ReusableActionProblem, is_reusable

PREFIX: Final = "JOBRUNNER_REUSABLE_PREFIX"
_LOOPBACK: Final = ("http://127.0.0.1:", "http://localhost:")


@dataclass(frozen=True, slots=True)
class Code:
    """`action` as it is started. `files`: what its folder holds. `hashes`: sha256, for the record.

    `named`: those of them that decide alone whether it runs again.
    """

    action: Action
    files: StudyFiles
    hashes: Mapping[str, str]
    named: frozenset[str]


def reusable_codes(actions: Iterable[Action], fresh: frozenset[str]) -> dict[str, Code]:
    """The code of each of these actions that is a reusable one; those in `fresh` are looked up again.

    Raises LocalProblem (reusable) with a line for each that cannot be had.
    """
    wanted = [action for action in actions if is_reusable(action)]
    if not wanted:
        return {}
    from jobrunner.study import GitUnusable
    from jobrunner.study.reusable import DEFAULT_PREFIX
    from jobrunner.study.reusable_cache import ReusableCache

    prefix = os.environ.get(PREFIX) or DEFAULT_PREFIX
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    found, faults = {}, []
    try:
        kept = ReusableCache(
            Path(cache).resolve() / "jobrunner" / "reusable",
            prefix,
            allow_loopback_http=prefix.startswith(_LOOPBACK),
        )
        for action in wanted:
            try:
                local = kept.code(action, fresh=action.id in fresh)
            except ReusableActionProblem as problem:
                faults.append(f"{problem.id}: {problem.message}")
                continue
            files = all_files(local.folder)
            hashes = hash_study(files, files.kinds)
            # Another commit of it is another program, whatever its command names.
            found[action.id] = Code(local.action, files, hashes, frozenset(hashes))
    except (GitUnusable, OSError, ValueError) as error:
        raise LocalProblem("reusable", f"Reusable actions cannot be had: {error}.") from error
    if faults:
        raise LocalProblem("reusable", "\n".join(faults))
    return found
