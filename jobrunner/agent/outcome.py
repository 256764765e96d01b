"""How an attempt ends: one word for the wire, and a detail and a sentence that stay inside the site."""

from dataclasses import dataclass

from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt. Only `exit_class` and `reason` ever leave; `detail` is of a closed list
    (threats.md section 6), `message` is for the site's operator."""

    exit_class: ExitClass
    reason: Reason
    detail: str = ""
    message: str = ""


class Ended(Exception):
    """Raised by a step to end its attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.reason.value} {outcome.detail}".strip())
        self.outcome = outcome


_CLASS_OF_REASON = {
    reason: exit_class for exit_class, reasons in REASONS_OF_EXIT.items() for reason in reasons
}


def end(reason: Reason, detail: str = "", message: str = "") -> Ended:
    """The exception that ends an attempt for the given terminal reason."""
    return Ended(Outcome(_CLASS_OF_REASON[reason], reason, detail, message))
