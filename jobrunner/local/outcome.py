"""How one action ended here."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`reason`: completed, or the word of design.md section 5 that the agent would use.

    `message`: sentences about a failure, as the agent writes them into the log. `cause`: the likely cause,
    None when nothing is recognised. `tail`: the last lines of what the command said, when it failed. `log`:
    path of the whole log in the work tree. `outputs`: path to level. `refused`: path to the reason why the
    file would not enter the medium area. `notes`: sentences.
    """

    action: str
    reason: str
    message: str = ""
    cause: str | None = None
    tail: tuple[str, ...] = ()
    log: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether its outputs are in the work tree now."""
        return self.reason == "completed"


class Cancelled(Exception):
    """The person asked for everything to end; nothing of this action is kept."""
