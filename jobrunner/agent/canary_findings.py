"""What a canary saw inside the sandbox, judged: which walls held (threats.md section 2, start-up canary)."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from jobrunner.executors.base import ActionRun

_NO_CAPABILITY: Final = "0" * 16 * 5
_NO_NETWORK: Final = frozenset({errno.ENETUNREACH, errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Tried:
    """One thing that was tried. `seen` is what happened: a count, the name of an error, or a word."""

    name: str
    tried: str
    held: bool
    seen: str


Judge = Callable[[str, ActionRun], bool]


def _is(wanted: str) -> Judge:
    return lambda seen, _run: seen == wanted


def _at_most(limit: Callable[[ActionRun], int]) -> Judge:
    return lambda seen, run: seen.isdecimal() and 0 < int(seen) <= limit(run)


def _failed(seen: str, _run: ActionRun) -> bool:
    return seen.isdecimal() and int(seen) != 0


def _denied(seen: str, _run: ActionRun) -> bool:
    return seen.isdecimal() and int(seen) in (errno.EPERM, errno.ENOSYS)


def _no_way(seen: str, _run: ActionRun) -> bool:
    return seen.isdecimal() and int(seen) in _NO_NETWORK


def _own_user(seen: str, run: ActionRun) -> bool:
    return seen == f"{run.uid} {run.uid} {run.gid} {run.gid}"


def _filtered(seen: str, run: ActionRun) -> bool:
    # Another runtime has a list of its own, which this file does not show.
    return seen == "2" or run.runtime != "runc"


# What each line of the probe's report is about, and when the wall has held.
WALLS: Final[Mapping[str, tuple[str, Judge]]] = {
    "folder": ("an ordinary job reads, lists and writes its folder", _is("ok")),
    "user": ("run as anybody but the job's own user and group", _own_user),
    "capabilities": ("have a capability", _is(_NO_CAPABILITY)),
    "no_new_privileges": ("gain privileges by a setuid program", _is("1")),
    "filter": ("run without a list of system calls", _filtered),
    "interfaces": ("find a network interface other than loopback", _is("lo")),
    "reach_documentation": ("reach another host (192.0.2.1)", _no_way),
    "reach_metadata": ("reach a cloud's metadata service (169.254.169.254)", _no_way),
    "reach_abstract": ("reach an abstract socket of the host", _failed),
    "socket_alg": ("open a socket of the kernel's ciphers", _failed),
    "socket_packet": ("open a packet socket", _failed),
    "socket_vsock": ("open a socket to the hypervisor", _failed),
    "socket_raw": ("open a raw socket", _failed),
    "socket_audit": ("open a socket to the audit log", _failed),
    "call_bpf": ("load a program into the kernel", _denied),
    "call_io_uring_setup": ("make calls past the list (io_uring)", _denied),
    "call_keyctl": ("use the kernel's key rings", _denied),
    "call_mount": ("mount something", _denied),
    "call_perf_event_open": ("watch the processor's counters", _denied),
    "call_personality": ("turn address randomisation off", _denied),
    "call_ptrace": ("trace another process", _denied),
    "call_setns": ("enter another namespace", _denied),
    "call_unshare": ("make a user namespace", _denied),
    "call_userfaultfd": ("handle page faults of the kernel", _denied),
    "write_root": ("write to the image's root folder", _failed),
    "write_etc": ("write to /etc", _failed),
    "write_sysctl": ("change a setting of the kernel", _failed),
    "engine_socket": ("find the engine's socket", _failed),
    "disk_counters": ("read counters of other jobs' disks", _is("none")),
    "load_counters": ("read counters of what others do on the host", _is("none")),
    "open_files": ("open more files than the limit", _at_most(lambda run: run.limits.open_files)),
    "tmp_bytes": ("fill /tmp beyond its limit", _at_most(lambda run: run.limits.tmp)),
    "tmp_files": ("make more files in /tmp than the limit", _at_most(lambda run: run.limits.tmp_inodes)),
    "shm_bytes": ("fill shared memory beyond its limit", _at_most(lambda run: run.limits.shm)),
    "disk_bytes": ("write more bytes than the disk's limit", _at_most(lambda run: run.limits.disk)),
    "files": ("make more files than the limit", _at_most(lambda run: run.limits.inodes)),
    "processes": ("start more processes than the limit", _at_most(lambda run: run.limits.pids)),
}


def judged(report: bytes, run: ActionRun) -> tuple[Tried, ...]:
    """One entry for each wall. A line that is missing, twice there or unknown counts as an open wall."""
    lines = [line.partition(" ") for line in report.decode("ascii", errors="replace").splitlines()]
    names = [name for name, _space, _value in lines]
    values = {name: value for name, _space, value in lines if names.count(name) == 1}
    found = [
        Tried(name, tried, name in values and held(values[name], run), _shown(name, values.get(name, "")))
        for name, (tried, held) in WALLS.items()
    ]
    unknown = sorted(set(names) - set(WALLS))
    if unknown:
        found.append(Tried("report", "tell something that was not asked", False, "unknown lines"))
    return tuple(found)


def _shown(name: str, value: str) -> str:
    if not value:
        return "nothing was told"
    of_errors = name.startswith(("reach_", "socket_", "call_", "write_", "engine_"))
    if of_errors and value.isdecimal():
        return errno.errorcode.get(int(value), "it worked" if value == "0" else value)
    return value[:200]
