"""How many jobs a site runs at once: each takes its whole share of cores, memory, disk: all must fit."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.agent.policy import MOST_SLOTS, Policy, PolicyProblem
from jobrunner.executors import disks

_LEAST_RESERVE_MIB: Final = 1024
_RESERVED_PART: Final = 16


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has: cores, memory, and room for the disks of jobs, both in MiB."""

    cores: int
    memory_mib: int
    disk_mib: int


def this_machine(cache: Path) -> Machine:
    """The machine that the agent runs on, with its `folders.cache`, where the disks of jobs are."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(os.cpu_count() or 1, memory // 2**20, disks.room(cache / "work" / "attempts") // 2**20)


def places(policy: Policy, machine: Machine) -> int:
    """How many jobs may run at once, at least 1: `limits.slots`, or as many as fit.

    All jobs together have `host.cores` and `host.memory_mib`; without these settings every core, and all
    memory but a sixteenth (1 GiB at least), which is the agent's and the engine's. Their disks have what is
    free at `folders.cache` when the agent starts. Raises PolicyProblem when not one job fits, fewer than
    `limits.slots`, or fewer than `database.slots`.
    """
    limits = policy.limits
    cores = policy.host.cores or float(machine.cores)
    memory = policy.host.memory_mib or _spare_memory(machine)
    if limits.cores > machine.cores:
        raise PolicyProblem(
            f"limits.cores: a job may use {limits.cores:g} cores, but this machine has {machine.cores}; "
            "lower limits.cores."
        )
    if memory > machine.memory_mib:
        raise PolicyProblem(
            f"host.memory_mib: this machine has {machine.memory_mib} MiB, so it cannot give {memory} MiB "
            "to jobs; lower host.memory_mib."
        )
    by_disk = machine.disk_mib // limits.disk_mib
    if by_disk < (limits.slots or 1):
        raise PolicyProblem(
            f"limits.disk_mib: {limits.slots or 1} jobs at once may each fill a disk of {limits.disk_mib} MiB, "
            f"but folders.cache has room for {machine.disk_mib} MiB; free some space there, or lower "
            "limits.disk_mib or limits.slots."
        )
    # A tenth of a core ten times is one core, whatever binary fractions say.
    fit = min(int(cores / limits.cores + 1e-9), memory // limits.memory_mib, by_disk, MOST_SLOTS)
    share = f"{limits.cores:g} cores (limits.cores) and {limits.memory_mib} MiB (limits.memory_mib)"
    whole = f"{cores:g} cores (host.cores) and {memory} MiB (host.memory_mib)"
    if fit == 0:
        raise PolicyProblem(
            f"limits: a job may use {share}, but all jobs together have {whole}; lower what a job may use."
        )
    if limits.slots is not None and limits.slots > fit:
        raise PolicyProblem(
            f"limits.slots: {limits.slots} jobs of {share} each do not fit, since all jobs together have "
            f"{whole}; set limits.slots to at most {fit}, or lower what a job may use."
        )
    total = limits.slots or fit
    if policy.database is not None and policy.database.slots > total:
        raise PolicyProblem(
            f"database.slots: this site runs {total} jobs at once (limits.slots, or what fits), so "
            f"{policy.database.slots} of them cannot be database actions; lower database.slots."
        )
    return total


def _spare_memory(machine: Machine) -> int:
    return max(0, machine.memory_mib - max(_LEAST_RESERVE_MIB, machine.memory_mib // _RESERVED_PART))
