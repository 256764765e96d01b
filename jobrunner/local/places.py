"""Where no output may land: in a repository's own folder, and among our own records.

What lies there is obeyed: git runs programs that its settings name, and a record says that nothing must run.
"""

from jobrunner.local.study_files import STATE_FOLDER
from jobrunner.study.names import is_git_folder, look


def why_not_there(path: str) -> str | None:
    """Why no output may lie at `path`, as the end of a sentence about it; None when one may.

    For a pattern it tells only what its parts without `*` say.
    """
    parts = path.split("/")
    if any(is_git_folder(part) for part in parts):
        return "git keeps its own files there"
    if look(parts[0]).rstrip(" .") == STATE_FOLDER:
        return f"jobrunner keeps its own records in {STATE_FOLDER}"
    return None
