"""What is wrong with an offer before anything is asked of anybody: its project, and the words for git."""

from collections.abc import Collection

from jobrunner.agent.outcome import Ended, end
from jobrunner.study import GitRules, IntakeError, check_branch, check_commit, parse_repository_url
from jobrunner.sync.messages import Offer
from jobrunner.sync.vocabulary import Reason


def check_offer(offer: Offer, projects: Collection[str], rules: GitRules) -> None:
    """Raise Ended with site_policy (unknown_project), repository_not_allowed or commit_not_found.

    `projects` are those that the policy names; where it names none, it takes all. No process is started, and
    nothing is sent.
    """
    if projects and offer.project not in projects:
        raise end(Reason.SITE_POLICY, "unknown_project", f"Project {offer.project} is not in the policy.")
    try:
        parse_repository_url(offer.repo, rules)
        check_branch(offer.branch)
        check_commit(offer.commit)
    except IntakeError as error:
        raise intake_end(error) from error


def intake_end(error: IntakeError) -> Ended:
    """The exception that ends an attempt for what the intake of its commit found."""
    return end(Reason(error.reason), error.detail, error.message)
