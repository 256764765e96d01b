"""Where a reusable action's code is: the repository of its name, and the commit of its tag on branch `main`.

project-yaml.md 6.9, threats.md section 5 item 13. The road is the one of every study: `Mirrors` alone speaks
to the host. Controller, agent and laptop all come through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobrunner.pipeline.model import Action
from jobrunner.pipeline.reusable import (
    ReusableActionProblem,
    apply,
    check_name,
    git_problem,
    unreadable_file,
)
from jobrunner.study.errors import (
    CommitNotFound,
    CommitNotOnBranch,
    IntakeError,
    MirrorBroken,
    TagNotFound,
    TreeRefused,
)
from jobrunner.study.mirrors import Mirrors
from jobrunner.study.pinned import PinnedCommit
from jobrunner.study.stop import Stop

DEFAULT_PREFIX: Final = "https://github.com/opensafely-actions"
BRANCH: Final = "main"
ACTION_FILE: Final = "action.yaml"
# One byte more than the loader takes (PS001), so that it is the loader that says so.
_FILE_LIMIT: Final = 5_000_001


@dataclass(frozen=True, slots=True)
class ReusableSource:
    """A reusable action's commit, the tag that named it, and its `action.yaml`; None if it has none."""

    commit: PinnedCommit
    tag: str
    action_file: bytes | None

    @property
    def place(self) -> dict[str, str]:
        """Address, tag and commit, to be written down: `repo`, `tag`, `commit`."""
        return {"repo": self.commit.url, "tag": self.tag, "commit": self.commit.commit}

    def apply_to(self, action: Action) -> Action:
        """The study's action as it is started; raises ReusableActionProblem (RA006 to RA010)."""
        return apply(action, self.action_file, self.commit.url)


class ActionFileRefused(TreeRefused):
    """`action.yaml` is a link, or longer than any file that may be loaded."""


def address(action: Action, prefix: str) -> str:
    """The repository's address below `prefix`. Raises ReusableActionProblem (RA001)."""
    check_name(action)
    return f"{prefix}/{action.image}"


def pin(
    mirrors: Mirrors,
    url: str,
    tag: str,
    commit: str | None = None,
    deadline_s: float | None = None,
    stop: Stop | None = None,
) -> PinnedCommit:
    """The commit that `tag` names now or, if it was resolved before, `commit`; on `main` in any case.

    Raises IntakeError and Stopped as `Mirrors.pin_tag` and `Mirrors.pin` do.
    """
    if commit is None:
        return mirrors.pin_tag(url, tag, BRANCH, deadline_s=deadline_s, stop=stop)
    return mirrors.pin(url, BRANCH, commit, deadline_s=deadline_s, stop=stop)


def read_source(pinned: PinnedCommit, tag: str, stop: Stop | None = None) -> ReusableSource:
    """The commit of `tag` with its `action.yaml`. Raises IntakeError and Stopped as `read_file` does."""
    try:
        return ReusableSource(pinned, tag, pinned.read_file(ACTION_FILE, _FILE_LIMIT, stop))
    except FileNotFoundError:
        return ReusableSource(pinned, tag, None)
    except TreeRefused as error:
        if error.detail == "symlink":
            raise ActionFileRefused("symlink", error.message) from error
        if error.detail == "too_large":
            raise ActionFileRefused("too_large", error.message) from error
        raise


def explain(action: Action, url: str, error: IntakeError, commit: str | None = None) -> ReusableActionProblem:
    """What an error of `pin`, or with the `commit` known of `read_source`, means for a person: RA002 to
    RA005, or RA007."""
    match error:
        case ActionFileRefused():
            return unreadable_file(action, url, error.message)
        case TagNotFound():
            return git_problem("RA003", action, url, None)
        case CommitNotFound() | CommitNotOnBranch():
            return git_problem("RA004", action, url, commit)
        case MirrorBroken() | TreeRefused():
            return git_problem("RA005", action, url, commit)
        case _:
            # Unreachable, or an address that is not to be spoken to.
            return git_problem("RA002", action, url, None)
