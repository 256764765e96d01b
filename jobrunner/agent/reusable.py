"""The code of a reusable action as this site finds it (threats.md section 5 item 13).

Address and tag follow from the study's commit and the site's policy; the tag's commit is asked of the git
host, kept in the journal at its first use in a request, and not resolved again in that request. What the
controller found has no part in it.
"""

from typing import Protocol

from jobrunner.agent import resolutions
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import end
from jobrunner.pipeline.model import Action
from jobrunner.pipeline.reusable import ReusableActionProblem
from jobrunner.study import CommitNotFound, CommitNotOnBranch, Mirrors, Stop
from jobrunner.study.errors import TagNotFound
from jobrunner.study.reusable import ActionFileRefused, ReusableSource, address, explain, pin, read_source
from jobrunner.sync.vocabulary import Reason


class FindSource(Protocol):
    """How the procedure asks for the code of a reusable action; raises as `ReusableActions.source` does."""

    def __call__(self, request_id: str, action: Action, stop: Stop | None = None) -> ReusableSource: ...


def none_allowed(request_id: str, action: Action, stop: Stop | None = None) -> ReusableSource:
    """The answer of a site that runs no reusable actions: Ended with image_not_allowed (name)."""
    raise end(
        Reason.IMAGE_NOT_ALLOWED,
        "name",
        f"{action.image}:{action.image_version} is no image but the name of a reusable action, and the "
        "policy of this site allows none. If they shall run here, set prefix in [reusable_actions].",
    )


class ReusableActions:
    """Reusable actions from the repositories directly below `prefix`. Safe to use from many threads."""

    def __init__(self, journal: Journal, prefix: str, mirrors: Mirrors) -> None:
        self._journal = journal
        self._prefix = prefix
        self._mirrors = mirrors

    def source(self, request_id: str, action: Action, stop: Stop | None = None) -> ReusableSource:
        """The commit and `action.yaml` behind a study's reusable action.

        Raises Ended with pipeline_invalid (RA001, RA003, RA004, RA007); IntakeError and Stopped as
        `Mirrors.pin_tag` does.
        """
        try:
            url = address(action, self._prefix)
        except ReusableActionProblem as problem:
            raise end(Reason.PIPELINE_INVALID, problem.id, problem.message) from problem
        try:
            return self._source(url, request_id, action.image_version, stop)
        except (TagNotFound, CommitNotFound, CommitNotOnBranch, ActionFileRefused) as error:
            told = explain(action, url, error)
            raise end(Reason.PIPELINE_INVALID, told.id, f"{told.message} {error.message}") from error

    def _source(self, url: str, request_id: str, tag: str, stop: Stop | None) -> ReusableSource:
        with self._journal.transaction() as connection:
            known = resolutions.find(connection, request_id, url, tag)
        pinned = pin(self._mirrors, url, tag, known, stop=stop)
        with self._journal.transaction() as connection:
            first = resolutions.keep(connection, request_id, url, tag, pinned.commit)
        if first != pinned.commit:
            # Another job of the request was there first, and the tag was moved meanwhile.
            pinned = pin(self._mirrors, url, tag, first, stop=stop)
        return read_source(pinned, tag, stop)
