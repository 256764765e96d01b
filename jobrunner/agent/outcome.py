"""How an attempt ends: one word for the wire, and a detail and a sentence that stay inside the site."""

from dataclasses import dataclass
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

_CLASS_OF_REASON = {
    reason: exit_class for exit_class, reasons in REASONS_OF_EXIT.items() for reason in reasons
}


def end(reason: Reason, detail: str = "", message: str = "") -> Ended:
    """The exception that ends an attempt for the given terminal reason."""
    return Ended(Outcome(_CLASS_OF_REASON[reason], reason, detail, message))
