"""What the site's operator hears of a controller that says what it must not say (threats.md section 6, P02).

Nothing of it leaves the site: each is a line of the log and an incident of the journal, about the job that it
concerns where there is one.
"""

from itertools import count
from typing import Final

import structlog

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.journal import Journal
from jobrunner.sync.client import BrokenReply
from jobrunner.sync.messages import Cancel, Lease
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

_MOST_STRAY_CANCELS: Final = 100
# Older incidents of other kinds must not be pushed out of the journal by a peer that lies all day.
_MOST_NOTED: Final = 1000


class Complaints:
    """Safe to use from many threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stray: set[tuple[str, int]] = set()
        self._noted = count(1)

    def broken_reply(self, call: str, broken: BrokenReply, about: Attempt | None = None) -> None:
        """A reply that is no message of the protocol: nothing in it counts. The call was `about` a job."""
        detail = "unknown_field" if broken.unknown_field else "malformed"
        log.error("broken_reply", call=call, detail=detail, problem=str(broken))
        message = f"The controller's answer to {call} was refused: {broken}."
        job_id, number = (None, None) if about is None else about.key
        self._note(detail, message, job_id, number)

    def unusable_lease(self, asked: Attempt, lease: Lease) -> None:
        """A claim was granted with what nobody can work with: no token, or a number that is used up."""
        if lease.token is None:
            why = "without a token"
        else:
            why = f"with attempt {lease.attempt}, which is over; {asked.number} or more was asked for"
        message = f"The controller answered a claim {why}."
        log.error("unusable_lease", job=asked.job_id, attempt=asked.number, problem=message)
        self._note("malformed", message, *asked.key)

    def _note(self, detail: str, message: str, job_id: str | None, number: int | None) -> None:
        """Note an incident; after so many since the agent began, only the log has more of them."""
        if next(self._noted) <= _MOST_NOTED:
            self._journal.note(Reason.SITE_POLICY.value, detail, message, job_id=job_id, attempt=number)

    def stray_cancel(self, cancel: Cancel) -> None:
        """The controller wants to stop what was never here.

        Each reply may repeat it, so it is noted once, and not without end.
        """
        key = (cancel.job_id, cancel.attempt)
        if key in self._stray or len(self._stray) >= _MOST_STRAY_CANCELS:
            return
        self._stray.add(key)
        message = "The controller asked to stop a job that was never at this site."
        log.warning("stray_cancel", job=cancel.job_id, attempt=cancel.attempt)
        self._journal.note(
            Reason.SITE_POLICY.value, "malformed", message, job_id=cancel.job_id, attempt=cancel.attempt
        )
