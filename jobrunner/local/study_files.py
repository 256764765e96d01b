"""Which files of a work tree are the study's: those that git tracks, and those that it does not ignore.

What is tracked keeps the rules of the agent's intake (threats.md section 5 items 9 to 11), in its words: a
commit of it would be refused. An untracked file that breaks one is left out with a warning.
"""

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.local.problems import LocalProblem
from jobrunner.pipeline.patterns import PatternSet
from jobrunner.study.errors import TreeRefused
from jobrunner.study.links import check_links
from jobrunner.study.names import check_name, collision_key
from jobrunner.study.rules import Limits
from jobrunner.study.tree import EntryKind

STATE_FOLDER: Final = ".jobrunner"
# Never part of a study, and what older tools write, which is part of it only where it is tracked.
_OURS: Final = frozenset({STATE_FOLDER, ".git"})
_OF_TOOLS: Final = frozenset({"metadata"})
_LIMITS: Final = Limits()
_GIT_SECONDS: Final = 60
_GITLINK: Final = b"160000"


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """`kinds`: path to FILE, PROGRAM or LINK, as the files lie now. `warnings`: sentences for the person."""

    root: Path
    kinds: Mapping[str, EntryKind]
    warnings: tuple[str, ...]


def study_files(root: Path, outputs: PatternSet) -> StudyFiles:
    """The study in `root`. An untracked file that a pattern of `outputs` matches is none of its files.

    Raises LocalProblem (tree_refused), OSError.
    """
    tracked, others = _listed_by_git(root)
    warnings: list[str] = []
    if tracked is None:
        warnings.append(
            "This folder is not in git, so every file in it counts as part of the study, but for outputs."
        )
        tracked, others = {}, _walked(root)
    kinds: dict[str, EntryKind] = {}
    for raw in sorted(tracked):
        _take_tracked(root, raw, tracked[raw], kinds)
    for raw in sorted(others - tracked.keys()):
        path = os.fsdecode(raw)
        if _is_below(path, _OURS | _OF_TOOLS) or outputs.matching(path):
            continue
        try:
            _take(root, raw, kinds)
        except TreeRefused as refused:
            warnings.append(f"Left out: {refused.message}")
    own = {path: kind for path, kind in kinds.items() if os.fsencode(path) in tracked}
    try:
        _check_tree(root, own)
    except TreeRefused as refused:
        raise LocalProblem("tree_refused", refused.message) from refused
    for link in [path for path, kind in kinds.items() if kind is EntryKind.LINK and path not in own]:
        # Judged by itself: over another untracked link it leads nowhere.
        known = {path: kind for path, kind in kinds.items() if kind is not EntryKind.LINK or path in own}
        try:
            _check_links(root, known | {link: EntryKind.LINK})
        except TreeRefused as refused:
            del kinds[link]
            warnings.append(f"Left out: {refused.message}")
    return StudyFiles(root, kinds, tuple(warnings))


def all_files(root: Path) -> StudyFiles:
    """Every file of a tree that was checked before, such as that of a reusable action."""
    kinds = {os.fsdecode(raw): _kind((root / os.fsdecode(raw)).lstat()) for raw in sorted(_walked(root))}
    return StudyFiles(root, kinds, ())


def link_targets(study: StudyFiles) -> dict[str, str]:
    """The text of each link of the study; without those that are no links any more."""
    found = {}
    for path in (path for path, kind in study.kinds.items() if kind is EntryKind.LINK):
        try:
            found[path] = os.fspath((study.root / path).readlink())
        except OSError:
            continue
    return found


def _take_tracked(root: Path, raw: bytes, mode: bytes, kinds: dict[str, EntryKind]) -> None:
    if _is_below(os.fsdecode(raw), _OURS):
        return
    try:
        if mode == _GITLINK:
            # Its folder may be gone, and it is still part of every commit.
            raise _another_repository(os.fsdecode(raw))
        _take(root, raw, kinds)
    except TreeRefused as refused:
        raise LocalProblem("tree_refused", refused.message) from refused


def _take(root: Path, raw: bytes, kinds: dict[str, EntryKind]) -> None:
    """Add the entry as it lies. Nothing happens when it is not there any more. Raises TreeRefused."""
    path = os.fsdecode(raw)
    if raw.endswith(b"/"):
        raise _another_repository(path)
    try:
        found = (root / path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(found.st_mode):
        raise TreeRefused("name", f"{path!a} is a file in git and a folder here; commit that, or undo it.")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise TreeRefused("name", f"{path!a} is neither a file nor a link.")
    for part in raw.split(b"/"):
        check_name(part, _LIMITS.part_bytes)
    if len(raw) > _LIMITS.path_bytes:
        raise TreeRefused("name", f"The path {path!a} is longer than {_LIMITS.path_bytes} bytes.")
    if path.count("/") >= _LIMITS.depth:
        raise TreeRefused("too_large", f"The path {path!a} is deeper than {_LIMITS.depth} folders.")
    if found.st_size > _LIMITS.blob_bytes:
        raise TreeRefused(
            "too_large", f"{path!a} has {found.st_size:,} bytes; {_LIMITS.blob_bytes:,} are allowed."
        )
    kinds[path] = _kind(found)


def _another_repository(path: str) -> TreeRefused:
    return TreeRefused("gitlink", f"{path!a} is another git repository; put its files into this one.")


def _kind(found: os.stat_result) -> EntryKind:
    if stat.S_ISLNK(found.st_mode):
        return EntryKind.LINK
    return EntryKind.PROGRAM if found.st_mode & stat.S_IXUSR else EntryKind.FILE


def _check_tree(root: Path, kinds: Mapping[str, EntryKind]) -> None:
    if len(kinds) > _LIMITS.entries:
        raise TreeRefused("too_large", f"The tree has more than {_LIMITS.entries:,} entries.")
    spelled: dict[str, str] = {}
    for path in kinds:
        other = spelled.setdefault(collision_key(path), path)
        if other != path:
            raise TreeRefused(
                "collision", f"Some systems cannot keep {other!a} and {path!a} apart; rename one of them."
            )
    _check_links(root, kinds)


def _check_links(root: Path, kinds: Mapping[str, EntryKind]) -> None:
    """Raises TreeRefused unless every link among `kinds` leads to one of them, or to a folder above one."""
    targets = {
        path: os.fsencode((root / path).readlink()) for path, kind in kinds.items() if kind is EntryKind.LINK
    }
    for path, target in targets.items():
        if len(target) > _LIMITS.link_bytes:
            raise TreeRefused(
                "symlink", f"The target of the link {path!a} is longer than {_LIMITS.link_bytes} bytes."
            )
    folders = {folder: EntryKind.FOLDER for path in kinds for folder in _parents(path)}
    check_links({**folders, **kinds}, targets)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _is_below(path: str, folders: frozenset[str]) -> bool:
    return path.split("/", 1)[0].casefold() in folders


def _listed_by_git(root: Path) -> tuple[dict[bytes, bytes] | None, frozenset[bytes]]:
    """Tracked paths below `root`, each with its mode, and untracked ones; None for a folder not in git.

    Raises LocalProblem (no_study) where git cannot tell.
    """
    # Each is "<mode> <object> <stage>", a tab, and the path.
    staged = _git(root, "--stage")
    if staged is None:
        return None, frozenset()
    tracked = {path: about[:6] for about, _tab, path in (entry.partition(b"\t") for entry in staged)}
    return tracked, _git(root, "--others", "--exclude-standard") or frozenset()


def _git(root: Path, *options: str) -> frozenset[bytes] | None:
    # fsmonitor would start a program that the repository's own settings name.
    words = ["git", "-c", "core.fsmonitor=false", "-C", str(root), "ls-files", "-z", *options]
    # A hook of git that calls us has set GIT_DIR and more, for another repository perhaps.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            words,
            env=kept | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalProblem("no_study", f"git could not be asked for the study's files: {error}.") from error
    if done.returncode == 0:
        return frozenset(filter(None, done.stdout.split(b"\0")))
    said = done.stderr.decode("utf-8", "replace").strip()
    if "not a git repository" in said:
        return None
    raise LocalProblem("no_study", f"git does not list the study's files: {said}")


def _walked(root: Path) -> frozenset[bytes]:
    found: set[bytes] = set()
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        if not prefix:
            folders[:] = [name for name in folders if name.casefold() not in _OURS]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found.update(os.fsencode(f"{prefix}{name}") for name in (*files, *links))
    return frozenset(found)
