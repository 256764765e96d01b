"""An attestation as a page of plain text, for people who trust nobody's word."""

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jobrunner.agent.attestation import Attestation, ImageTried, Standing, answer
from jobrunner.agent.canary import LIMITS
from jobrunner.agent.canary_findings import Tried
from jobrunner.agent.overview import counted, time_text
from jobrunner.executors.base import MIB, Limits
from jobrunner.sync.ssh_signatures import key_fingerprint, public_line

TITLE: Final = "ATTESTATION OF A SANDBOX"
NAMESPACE: Final = "jobrunner-attestation"
"""Namespace of `ssh-keygen -Y`: what the agent's key signed for another purpose is no attestation."""
_WIDTH: Final = 100
_FIELD: Final = 14
_TRIED: Final = 52

GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("What a job must be able to do", ("folder",)),
    ("To be somebody else", ("user", "capabilities", "no_new_privileges")),
    (
        "To reach somebody",
        (
            "interfaces", "reach_documentation", "reach_metadata", "reach_abstract", "heard", "socket_raw",
            "socket_packet", "socket_vsock", "socket_alg", "socket_audit",
        ),
    ),
    (
        "To ask the kernel for what no job needs",
        (
            "filter", "call_mount", "call_unshare", "call_setns", "call_ptrace", "call_bpf", "call_keyctl",
            "call_io_uring_setup", "call_userfaultfd", "call_perf_event_open", "call_personality",
        ),
    ),
    (
        "To write, or find, what is not its own",
        (
            "tree", "write_root", "write_etc", "write_sysctl", "engine_socket", "disk_counters",
            "load_counters",
        ),
    ),
    (
        "To take more than its share",
        ("processes", "memory", "disk_bytes", "files", "tmp_bytes", "tmp_files", "shm_bytes", "open_files"),
    ),
)  # fmt: skip
"""The order of the report; what is in none of them comes last."""


def verdict(attestation: Attestation) -> str:
    """The one sentence that matters."""
    tried = [image for image in attestation.images if image.standing is Standing.TRIED]
    total = sum(len(image.tried) for image in tried)
    held = sum(image.held for image in tried)
    if attestation.held:
        return f"EVERY WALL HELD: {held} of {total} attempts, in {counted(len(tried), 'image')}."
    if not tried:
        return "NOTHING IS SHOWN: no image could be tried. Do not rely on this sandbox."
    if held == total:
        return "NOT SHOWN: an image could not be tried to the end. Do not rely on this sandbox."
    return (
        f"NOT EVERY WALL HELD: {total - held} of {total} attempts got through. Do not rely on this sandbox."
    )


def text_of(attestation: Attestation, key: Ed25519PublicKey) -> str:
    """The whole report, in lines of about 100 signs."""
    return "\n".join([*_head(attestation), "", *_facts(attestation, key), "", *_tried(attestation), *_end()])


def _head(attestation: Attestation) -> Iterator[str]:
    yield TITLE
    yield ""
    yield verdict(attestation)
    yield f"Site {attestation.site}, {time_text(attestation.at)} UTC."
    for image in attestation.images:
        yield from (f"  OPEN in {image.names[0]}: {one.tried}" for one in image.tried if not one.held)
    if any(image.tried for image in attestation.images):
        yield ""
        yield _wrapped(
            "The agent of this site attacked its own sandbox: it ran a program that tries what no job may "
            "do, with the same engine, runtime, images and walls as it runs studies with, and wrote down "
            "what happened. Before it started, the engine's own account of each container was compared with "
            "the walls, setting by setting. No data were in it."
        )


def _facts(attestation: Attestation, key: Ed25519PublicKey) -> Iterator[str]:
    yield "WHAT IT IS ABOUT"
    yield ""
    yield _field("agent's key", key_fingerprint(key))
    yield _field("", public_line(key))
    yield _field("jobrunner", attestation.version)
    yield _field("policy", f"sha256 of its file {attestation.policy}")
    yield _field("", f"mode {attestation.mode}")
    yield _field("agent", attestation.running.value)
    parts = ", ".join(f"{name} {version}" for name, version in attestation.engine)
    yield _field("engine", parts or "it did not say")
    yield _field("runtime", attestation.runtime)
    yield _field("kernel", f"{attestation.kernel}, {attestation.machine}, cgroups v{attestation.cgroup}")
    yield _field("walls", f"sha256 of the settings {attestation.profile}")
    yield _field("attacker", f"sha256 of the program {attestation.probe}")
    yield from _shares(attestation.limits)


def _shares(limits: Limits) -> Iterator[str]:
    cores, memory = limits.nano_cpus / 1e9, limits.memory // MIB
    yield _field(
        "a job gets", f"at most {cores:g} of the cores, {memory} MiB of memory, {limits.pids} processes,"
    )
    yield _field(
        "", f"{limits.disk // MIB} MiB of disk, {limits.inodes} files, {limits.wall_clock_s} seconds"
    )


def _tried(attestation: Attestation) -> Iterator[str]:
    yield "WHAT IT TRIED, AND WHAT HAPPENED"
    yield ""
    if not attestation.images:
        yield "Nothing: the policy names no image, or the engine cannot be used."
        yield ""
    told: dict[Outcome, str] = {}
    for image in attestation.images:
        yield f"{', '.join(image.names)}  {image.image_id}"
        outcome = _outcome(image)
        if image.standing is not Standing.TRIED:
            yield f"  {image.standing.value}."
        elif outcome in told:
            yield f"  {image.held} of {len(image.tried)} held, with the same answers as in {told[outcome]}."
        else:
            told[outcome] = image.names[0]
            yield f"  {image.held} of {len(image.tried)} held:"
            yield ""
            yield from _table(image)
        yield ""


Outcome = tuple[tuple[str, bool, str], ...]


def _outcome(image: ImageTried) -> Outcome:
    return tuple((one.name, one.held, answer(one)) for one in image.tried)


def _table(image: ImageTried) -> Iterator[str]:
    left = {one.name: one for one in image.tried}
    for title, names in GROUPS:
        group = [left.pop(name) for name in names if name in left]
        yield from _group(title, group)
    yield from _group("To say something else", list(left.values()))


def _group(title: str, group: list[Tried]) -> Iterator[str]:
    if group:
        yield f"  {title}"
    for one in group:
        yield f"    {'held' if one.held else 'OPEN'}  {one.tried:<{_TRIED}} {answer(one)}"


def _end() -> Iterator[str]:
    yield "WHAT THIS DOES NOT SHOW"
    yield ""
    small = f"{LIMITS.pids} processes, {LIMITS.memory // MIB} MiB of memory, {LIMITS.disk // MIB} MiB of disk"
    for sentence in (
        f"Limits were tried with small numbers ({small}), so that trying hurts nobody. Those of jobs are set "
        "by the same settings of the engine.",
        "It says what was true then. The agent tries the same by itself at each start and once a day, with "
        "one of the images, and takes no job when a wall does not hold.",
        "Faults of kernel and engine that nobody knows, and what processors let one job see of another.",
        "What a database action may read: no database was given to this program.",
        "Whether a person's account could take the user of a job: `agent run` looks at that when it starts.",
        "That an image tells the truth: in each, its own perl ran the program and told what happened.",
        "That the machine was honest. Whoever is root on it can sign what they like with the agent's key.",
    ):
        yield _wrapped(sentence, first="- ", later="  ")
    yield ""
    yield "HOW TO CHECK IT"
    yield ""
    yield _wrapped(
        "The signature lies beside this file, with .sig at the end of its name. Have the agent's key, or its "
        "fingerprint, told to you by the people who run the controller or by whoever set the agent up: the "
        "one above proves nothing, since it stands in the file that it is to prove. Then with jobrunner:"
    )
    yield ""
    yield "  jobrunner agent attest --verify FILE --key ed25519:..."
    yield ""
    yield "or with OpenSSH alone, and the fingerprint that it prints must be the one that you were told:"
    yield ""
    yield "  echo 'agent ssh-ed25519 AAAA...' > signers"
    yield f"  ssh-keygen -Y verify -f signers -I agent -n {NAMESPACE} -s FILE.sig < FILE"
    yield ""


def _field(name: str, value: str) -> str:
    return f"  {name:<{_FIELD}}{value}"


def _wrapped(text: str, first: str = "", later: str = "") -> str:
    return fill(text, _WIDTH, initial_indent=first, subsequent_indent=later)
