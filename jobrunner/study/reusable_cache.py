"""Reusable actions on a researcher's own machine: fetched once, then kept in the cache folder by commit.

    kept = ReusableCache(Path.home() / ".cache/jobrunner/reusable")
    code = kept.code(action)
    code.action.image, code.action.command(), code.folder

project-yaml.md 6.9. A version such as `v1.2` stays what it was found to be until it is asked for afresh, so
that a run needs no network; `latest` and `dev` are made to move, and are looked up each time.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.pipeline.model import Action
from jobrunner.pipeline.reusable import apply
from jobrunner.study.errors import IntakeError
from jobrunner.study.extraction import extract
from jobrunner.study.mirrors import Mirrors
from jobrunner.study.reusable import ACTION_FILE, DEFAULT_PREFIX, address, explain, pin, read_source
from jobrunner.study.rules import GitRules
from jobrunner.study.stop import Stop

_MOVING: Final = frozenset({"latest", "dev"})
_HEX40: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class LocalCode:
    """A study's action as it is started, and the folder with the code that stands in place of the study's.

    `folder` belongs to the cache: read from it, never write into it. `commit` is 40 hex digits.
    """

    action: Action
    folder: Path
    repo: str
    commit: str


class ReusableCache:
    """The cache below `root`. `prefix` is the address above the repositories of reusable actions.

    `allow_loopback_http` lets the prefix be http on a loopback address too.
    """

    def __init__(
        self, root: Path, prefix: str = DEFAULT_PREFIX, *, allow_loopback_http: bool = False
    ) -> None:
        self._root = root
        self._prefix = prefix
        self._rules = GitRules((prefix,), allow_loopback_http=allow_loopback_http)

    def code(self, action: Action, *, fresh: bool = False, stop: Stop | None = None) -> LocalCode:
        """What a study's reusable action runs; with `fresh` its tag is looked up again.

        Raises:
            ReusableActionProblem: RA001 to RA010.
            GitUnusable: git is missing or too old.
            Stopped: `stop` was asked.
            OSError: the cache cannot be written.
        """
        url = address(action, self._prefix)
        tag = action.image_version
        kept = None if fresh or tag in _MOVING else self._kept(url, tag)
        commit, folder, action_file = kept or self._fetched(action, url, stop)
        return LocalCode(apply(action, action_file, url), folder, url, commit)

    def _fetched(self, action: Action, url: str, stop: Stop | None) -> tuple[str, Path, bytes | None]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mirrors = Mirrors(self._root / "mirrors", self._rules)
        tag = action.image_version
        commit = None
        try:
            pinned = pin(mirrors, url, tag, stop=stop)
            commit = pinned.commit
            source = read_source(pinned, tag, stop)
            folder = extract(pinned, self._root / "trees", self._rules, stop)
        except IntakeError as error:
            raise explain(action, url, error, commit) from error
        if source.action_file is not None:
            self._keep(url, tag, commit, pinned.tree)
        return commit, folder, source.action_file

    def _keep(self, url: str, tag: str, commit: str, tree: str) -> None:
        note = self._note(url, tag)
        note.parent.mkdir(mode=0o700, exist_ok=True)
        partial = note.with_suffix(".partial")
        partial.write_text(json.dumps({"repo": url, "tag": tag, "commit": commit, "tree": tree}))
        partial.replace(note)

    def _kept(self, url: str, tag: str) -> tuple[str, Path, bytes] | None:
        """Commit, folder and action file of an earlier look-up; None when there is no whole one."""
        try:
            note = json.loads(self._note(url, tag).read_bytes())
            commit, tree = note["commit"], note["tree"]
            if not _HEX40.fullmatch(commit) or not _HEX40.fullmatch(tree):
                return None
            folder = self._root / "trees" / tree
            return commit, folder, (folder / ACTION_FILE).read_bytes()
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, url: str, tag: str) -> Path:
        name = hashlib.sha256(f"{url}\0{tag}".encode()).hexdigest()
        return self._root / "tags" / f"{name}.json"
