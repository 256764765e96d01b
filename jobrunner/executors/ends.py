"""How a command that did not end well is called: one word of design.md section 5, and one sentence."""

from dataclasses import dataclass

from jobrunner.executors.base import Exit


@dataclass(frozen=True, slots=True)
class Fault:
    """`reason`: nonzero_exit, out_of_memory, out_of_time or out_of_disk."""

    reason: str
    message: str


def fault_of(done: Exit) -> Fault | None:
    """What went wrong; None for exit status 0 within the limits."""
    if done.out_of_time:
        return Fault("out_of_time", "The action ran longer than the site allows.")
    if done.status == 0:
        return None
    if done.out_of_memory:
        return Fault("out_of_memory", "The action needed more memory than it has.")
    if done.out_of_disk:
        return Fault("out_of_disk", "The action's work folder was full.")
    return Fault("nonzero_exit", f"The command ended with status {done.status}.")
