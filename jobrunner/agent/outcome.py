"""How an attempt ends: one word for the wire, and a detail and a sentence that stay inside the site."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt. Only `exit_class` and `reason` ever leave; `detail` is of a closed list
    (threats.md section 6), `message` is for the site's operator."""

    exit_class: ExitClass
    reason: Reason
    detail: str = ""
    message: str = ""


LONGEST_MESSAGE: Final = 16 * 1024
"""Bytes that are kept of a message."""


def shortened(message: str) -> str:
    """The message, cut at 16 KiB: a job's own names are in it, and the journal keeps it for ever."""
    whole = message.encode("utf-8", "backslashreplace")
    if len(whole) <= LONGEST_MESSAGE:
        return message
    return f"{whole[:LONGEST_MESSAGE].decode('utf-8', 'ignore')} ... ({len(whole)} bytes in all)"


def is_incident(outcome: Outcome) -> bool:
    """Whether the site's operator should look at an attempt that ended so."""
    if outcome.exit_class in (ExitClass.SUCCEEDED, ExitClass.CANCELLED):
        return False
    return outcome.reason not in STUDYS_OWN


class Ended(Exception):
    """Raised by a step to end its attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.reason.value} {outcome.detail}".strip())
        self.outcome = outcome


STUDYS_OWN: Final = frozenset(
    {
        Reason.NONZERO_EXIT,
        Reason.OUT_OF_MEMORY,
        Reason.OUT_OF_TIME,
        Reason.OUT_OF_DISK,
        Reason.OUTPUTS_MISSING,
        Reason.OUTPUTS_REFUSED,
    }
)
"""Ends that the study's own code brought about: for its researchers to mend, not for the site's operator."""

DETAILS: Final[Mapping[Reason, frozenset[str]]] = MappingProxyType(
    {
        Reason.APPROVAL_EXPIRED: frozenset({"expired", "not_yet"}),
        Reason.APPROVAL_INVALID: frozenset(
            {"malformed", "bad_signature", "unknown_key", "revoked", "superseded", "threshold", "mismatch"}
        ),
        Reason.REPOSITORY_NOT_ALLOWED: frozenset({"url", "host", "protocol", "address"}),
        Reason.COMMIT_NOT_FOUND: frozenset({"branch", "commit"}),
        Reason.TREE_REFUSED: frozenset({"gitlink", "symlink", "name", "collision", "too_large", "timeout"}),
        Reason.PIPELINE_INVALID: frozenset({"missing"}),
        Reason.IMAGE_NOT_ALLOWED: frozenset({"name", "digest", "unverified", "volume"}),
        Reason.DATABASE_NOT_ALLOWED: frozenset({"image", "argument", "approval", "dataset"}),
        Reason.SITE_POLICY: frozenset(
            {
                "malformed",
                "unknown_field",
                "wrong_site",
                "unknown_project",
                "hook",
                "runtime",
                "sandbox",
                "clock",
                "policy",
            }
        ),
        Reason.INTERNAL_ERROR: frozenset(
            {
                "unreachable",
                "image",
                "database",
                "input_missing",
                "input_changed",
                "lost",
                "disk_low",
                "attempts",
            }
        ),
    }
)
"""The closed list of threats.md section 6; a reason that is not here has none. The detail of pipeline_invalid
may also be the id of the rule that the file breaks."""

_RULE_ID = re.compile(r"[A-Z]{2}[0-9]{3}")
_CLASS_OF_REASON = {
    reason: exit_class for exit_class, reasons in REASONS_OF_EXIT.items() for reason in reasons
}


def end(reason: Reason, detail: str = "", message: str = "") -> Ended:
    """The exception that ends an attempt for the given terminal reason; 16 KiB of the message are kept.

    Raises ValueError for a detail that this reason does not have.
    """
    if detail not in DETAILS.get(reason, {""}) and not _is_rule(reason, detail):
        raise ValueError(f"{reason.value} has no detail {detail!r}")
    return Ended(Outcome(_CLASS_OF_REASON[reason], reason, detail, shortened(message)))


def _is_rule(reason: Reason, detail: str) -> bool:
    return reason is Reason.PIPELINE_INVALID and _RULE_ID.fullmatch(detail) is not None
