"""Why a site claims nothing for now. Each cause begins and ends by itself, whatever the others do."""

from collections.abc import Collection
from enum import StrEnum

from jobrunner.agent.outcome import end
from jobrunner.sync.vocabulary import Reason


class Cause(StrEnum):
    """What must be in order before anything new is claimed."""

    CONTAINER = "container"
    """The engine made a container that differs from the profile: until the agent is started again."""
    CANARY = "canary"
    """The sandbox did not hold when it was tried: until it is tried again and holds."""
    DISK = "disk"
    """A disk is nearly full: until there is room again."""
    CLOCK = "clock"
    """The wall clock stands behind the journal: until it is right, or the operator says that it is."""


def refuse_while(causes: Collection[Cause]) -> None:
    """Raise Ended where a job that was claimed before may not start: what it is kept by cannot be trusted."""
    if Cause.CONTAINER in causes or Cause.CANARY in causes:
        raise end(Reason.SITE_POLICY, "runtime", "The sandbox of this site does not hold; see the incidents.")
    if Cause.CLOCK in causes:
        raise end(
            Reason.SITE_POLICY, "clock", "The clock jumped back, so no approval is known to be in date."
        )
