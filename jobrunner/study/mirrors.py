"""One bare mirror for each repository address, and the proof that a commit is on a branch now.

threats.md section 5 items 4, 7 and 8. A mirror is a cache and never a source: each use asks the host.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from jobrunner.study.addresses import resolve
from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import CommitNotFound, CommitNotOnBranch, MirrorBroken, TagNotFound
from jobrunner.study.fetch import fetch_branch, local_ref, local_tag
from jobrunner.study.git_process import run_to_end, start_git
from jobrunner.study.git_program import find_git
from jobrunner.study.git_settings import local_environment, local_options
from jobrunner.study.locks import locked
from jobrunner.study.mirror_files import is_sound, make_mirror, replace_mirror
from jobrunner.study.objects import ObjectReader
from jobrunner.study.pinned import PinnedCommit
from jobrunner.study.references import check_branch, check_commit, check_tag
from jobrunner.study.repository_url import RepositoryUrl, parse_repository_url
from jobrunner.study.rules import GitRules
from jobrunner.study.stop import Stop

# How often a look through the history sees whether it shall stop.
_CHECK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A commit of `branch`: `commit` itself or, where that is empty, the one that `tag` names."""

    branch: str
    commit: str = ""
    tag: str | None = None


class Mirrors:
    """The mirrors below `root`, a folder of the agent's or controller's own. Safe to use from many threads.

    Raises:
        GitUnusable: git is missing or too old.
    """

    def __init__(self, root: Path, rules: GitRules) -> None:
        find_git()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self._rules = rules

    def pin(
        self, url: str, branch: str, commit: str, deadline_s: float | None = None, stop: Stop | None = None
    ) -> PinnedCommit:
        """Fetch the tip of `branch` and prove that it descends from `commit`, or is it.

        Args:
            url: https address of the repository, covered by the rules.
            branch: name without `refs/heads/`.
            commit: 40 lower-case hex digits.
            deadline_s: seconds the caller will wait; None leaves only the site's own limits.
            stop: with which another thread can end it; git is killed then.

        Raises:
            Stopped: that happened.
            IntakeError: `RepositoryNotAllowed`, `CommitNotFound`, `CommitNotOnBranch`, `TreeRefused` are
                final; `Unreachable` may be tried again.
        """
        check_commit(commit)
        return self._pin(url, _Wanted(branch, commit=commit), deadline_s, stop)

    def pin_tag(
        self, url: str, tag: str, branch: str, deadline_s: float | None = None, stop: Stop | None = None
    ) -> PinnedCommit:
        """The same for the commit of `tag` as it is on the host now (threats.md section 5 item 13).

        An annotated tag stands for the commit that it names.

        Raises:
            TagNotFound: there is no such tag, or it names no commit.
            Stopped, IntakeError: as `pin`.
        """
        check_tag(tag)
        return self._pin(url, _Wanted(branch, tag=tag), deadline_s, stop)

    def _pin(self, url: str, wanted: _Wanted, deadline_s: float | None, stop: Stop | None) -> PinnedCommit:
        address = parse_repository_url(url, self._rules)
        check_branch(wanted.branch)
        caller_at = None if deadline_s is None else time.monotonic() + deadline_s
        wait = Deadline.after(self._rules.limits.fetch_seconds, caller_at, stop)
        with locked(self._root / f"{address.key}.lock", wait) as lock:
            deadline = Deadline.after(self._rules.limits.fetch_seconds, caller_at, stop)
            return self._pin_locked(address, wanted, deadline, lock)

    def _pin_locked(self, url: RepositoryUrl, wanted: _Wanted, deadline: Deadline, lock: int) -> PinnedCommit:
        mirror = self._root / url.key
        if is_sound(mirror, self._rules.limits):
            try:
                self._fetch(mirror, url, wanted, deadline, lock)
                return self._prove(mirror, url, wanted, deadline)
            except MirrorBroken:
                # Made again below; a second fault is the caller's to retry.
                pass
        fresh = self._root / f"{url.key}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            make_mirror(fresh)
            self._fetch(fresh, url, wanted, deadline, lock)
            replace_mirror(mirror, fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return self._prove(mirror, url, wanted, deadline)

    def _fetch(
        self, mirror: Path, url: RepositoryUrl, wanted: _Wanted, deadline: Deadline, lock: int
    ) -> None:
        addresses = resolve(url, self._rules, deadline)
        fetch_branch(mirror, url, wanted.branch, self._rules, addresses, deadline, lock, wanted.tag)

    def _prove(self, mirror: Path, url: RepositoryUrl, wanted: _Wanted, deadline: Deadline) -> PinnedCommit:
        branch = wanted.branch
        with ObjectReader(mirror, self._rules.limits, deadline) as reader:
            commit = wanted.commit if wanted.tag is None else _named(reader, wanted.tag, url)
            if reader.kind(commit) != "commit":
                raise CommitNotFound("commit", f"The branch {branch} of {url.text} does not hold {commit}.")
            tree = reader.tree_of(commit)
            tip = reader.id_of(local_ref(branch))
        # An old object in the mirror gives no right: only the tip that was fetched just now counts.
        if commit != tip and not self._is_ancestor(mirror, commit, local_ref(branch), deadline):
            raise CommitNotOnBranch(
                f"The commit {commit} is not part of the branch {branch} of {url.text} as it is now. "
                "The branch may have been rewritten."
            )
        return PinnedCommit(url.text, branch, commit, tree, mirror, self._rules.limits)

    def _is_ancestor(self, mirror: Path, commit: str, ref: str, deadline: Deadline) -> bool:
        process = start_git(
            mirror,
            local_options(),
            ["merge-base", "--is-ancestor", commit, ref],
            environment=local_environment(),
            limits=self._rules.limits,
        )
        try:
            status = run_to_end(process, lambda: deadline.left, deadline.stop.check, _CHECK_EVERY_S)
        except TimeoutError:
            raise deadline.error("The look through the branch's history") from None
        if status not in (0, 1):
            raise MirrorBroken("git could not read the history in the mirror. The mirror is made again.")
        return status == 0


def _named(reader: ObjectReader, tag: str, url: RepositoryUrl) -> str:
    target = reader.id_of(local_tag(tag))
    commit = None if target is None else reader.commit_of(target)
    if commit is None:
        raise TagNotFound(f"The tag {tag} of {url.text} names no commit.")
    return commit
