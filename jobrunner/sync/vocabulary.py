"""The closed lists of the life of a job that both sides know (design.md section 5, threats.md section 1)."""

from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """How far an attempt is."""

    PREPARING = "preparing"
    EXECUTING = "executing"
    COLLECTING = "collecting"
    ENDED = "ended"


class ExitClass(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Every reason that an agent may report. There are no others: study code steers which of them is sent."""

    PREPARING = "preparing"
    EXECUTING = "executing"
    COLLECTING = "collecting"

    COMPLETED = "completed"

    NONZERO_EXIT = "nonzero_exit"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"
    OUT_OF_DISK = "out_of_disk"
    OUTPUTS_MISSING = "outputs_missing"
    OUTPUTS_REFUSED = "outputs_refused"
    INTERNAL_ERROR = "internal_error"

    APPROVAL_MISSING = "approval_missing"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_INVALID = "approval_invalid"
    REPOSITORY_NOT_ALLOWED = "repository_not_allowed"
    COMMIT_NOT_FOUND = "commit_not_found"
    COMMIT_NOT_ON_BRANCH = "commit_not_on_branch"
    TREE_REFUSED = "tree_refused"
    PIPELINE_INVALID = "pipeline_invalid"
    ACTION_UNKNOWN = "action_unknown"
    IMAGE_NOT_ALLOWED = "image_not_allowed"
    DATABASE_NOT_ALLOWED = "database_not_allowed"
    SITE_POLICY = "site_policy"

    BY_REQUESTER = "by_requester"
    BY_CONTROLLER = "by_controller"
    BY_SITE = "by_site"


class ErrorCode(StrEnum):
    """Every error that the controller may answer to an agent (wall W2)."""

    STALE_ATTEMPT = "stale_attempt"
    TAKEN = "taken"
    LOCKED = "locked"
    SLOW_DOWN = "slow_down"
    UNKNOWN_PROTOCOL = "unknown_protocol"
    BAD_REQUEST = "bad_request"


class Runtime(StrEnum):
    """OCI runtimes that an agent may offer."""

    RUNC = "runc"
    RUNSC = "runsc"


REASONS_OF_EXIT: Final[dict[ExitClass, frozenset[Reason]]] = {
    ExitClass.SUCCEEDED: frozenset({Reason.COMPLETED}),
    ExitClass.FAILED: frozenset(
        {
            Reason.NONZERO_EXIT,
            Reason.OUT_OF_MEMORY,
            Reason.OUT_OF_TIME,
            Reason.OUT_OF_DISK,
            Reason.OUTPUTS_MISSING,
            Reason.OUTPUTS_REFUSED,
            Reason.INTERNAL_ERROR,
        }
    ),
    ExitClass.REFUSED: frozenset(
        {
            Reason.APPROVAL_MISSING,
            Reason.APPROVAL_EXPIRED,
            Reason.APPROVAL_INVALID,
            Reason.REPOSITORY_NOT_ALLOWED,
            Reason.COMMIT_NOT_FOUND,
            Reason.COMMIT_NOT_ON_BRANCH,
            Reason.TREE_REFUSED,
            Reason.PIPELINE_INVALID,
            Reason.ACTION_UNKNOWN,
            Reason.IMAGE_NOT_ALLOWED,
            Reason.DATABASE_NOT_ALLOWED,
            Reason.SITE_POLICY,
        }
    ),
    ExitClass.CANCELLED: frozenset({Reason.BY_REQUESTER, Reason.BY_CONTROLLER, Reason.BY_SITE}),
}
"""Which reasons an attempt that has ended may give, by exit class. Each terminal reason is in exactly one."""

MAX_ATTEMPTS: Final = 3
"""Tries of one job; after that an internal error stays (threats.md section 7)."""
