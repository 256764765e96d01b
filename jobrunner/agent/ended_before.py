"""A job that has ended for good does not run again, whoever offers it (threats.md section 7, P02 and P20).

Only an internal error is tried again, and what was refused never ran: looking at it anew does no harm.
"""

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import end
from jobrunner.sync.vocabulary import ExitClass, Reason


def refuse_ended(journal: Journal, attempt: Attempt) -> None:
    """Raise Ended with site_policy (malformed) when an earlier attempt of the job has ended for good here."""
    for earlier in journal.attempts_of(attempt.job_id):
        if earlier.number < attempt.number and _has_ended_for_good(earlier):
            raise end(
                Reason.SITE_POLICY,
                "malformed",
                f"This job has ended here before, as attempt {earlier.number}, and was offered again.",
            )


def _has_ended_for_good(attempt: Attempt) -> bool:
    outcome = attempt.outcome
    if outcome is None:
        return False
    if attempt.superseded:
        # It told nobody how it ended. What it published is there all the same, and nothing may replace it.
        return outcome.exit_class is ExitClass.SUCCEEDED
    return outcome.exit_class is not ExitClass.REFUSED and outcome.reason is not Reason.INTERNAL_ERROR
