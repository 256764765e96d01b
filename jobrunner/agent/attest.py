"""Trying the sandbox on an admin's word, beside the agent or without it, and signing what was found.

It has a work folder, a label and users of its own: the agent may run, start or end meanwhile.
"""

import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jobrunner import __version__
from jobrunner.agent import clock
from jobrunner.agent.agent_key import agent_key
from jobrunner.agent.approvals import check_signers_file
from jobrunner.agent.attestation import Attestation, ImageTried, Running, Standing, word
from jobrunner.agent.attestation_text import NAMESPACE, TITLE, text_of
from jobrunner.agent.canary import Grounds, NoPerl, examine_in, probe_digest
from jobrunner.agent.canary_record import profile_digest
from jobrunner.agent.control import NoAnswer, NotRunning, Word, say
from jobrunner.agent.overview import HALTED
from jobrunner.agent.policy import Site
from jobrunner.agent.private_folder import make_private
from jobrunner.executors.base import JOB_UIDS, EngineError, Executor, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from jobrunner.sync.ssh_signatures import fits, sign

# The agent's own canary has the two behind them, and no slot has any of the four.
_UIDS: Final = (JOB_UIDS[-3], JOB_UIDS[-4])
_LARGEST_REPORT: Final = 1_000_000
_CGROUPS_V2: Final = Path("/sys/fs/cgroup/cgroup.controllers")


class CannotAttest(Exception):
    """There is no report, or it cannot be believed; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it, and for whoever ran it, why something could not be tried to its end."""

    attestation: Attestation
    problems: tuple[str, ...]


def try_site(site: Site, engine_url: str | None = None) -> Tried:
    """Try the sandbox with every image of the policy. Raises PolicyProblem, CannotAttest."""
    check_signers_file(site)
    make_private(site.cache, "folders.cache")
    place = site.cache / "attest"
    make_private(place, "folders.cache")
    with _alone(place):
        try:
            executor = DockerExecutor(place / "work", engine_url)
        except (SandboxRefused, EngineError, ValueError) as problem:
            return Tried(_attestation(site, (), ""), (str(problem),))
        try:
            return _try_images(site, executor, place)
        finally:
            executor.close()


def _try_images(site: Site, executor: Executor, place: Path) -> Tried:
    # Named by the folder, so that what a killed one left is found, and nobody else's.
    label = "attest-" + hashlib.sha256(bytes(place.resolve())).hexdigest()[:32]
    grounds = Grounds(label, place / "tree", _UIDS)
    names: dict[str, list[str]] = {}
    for name, section in site.policy.images.items():
        names.setdefault(section.id, []).append(name)
    found: list[ImageTried] = []
    problems: list[str] = []
    engine = ""
    try:
        executor.sweep(label, keep=())
        engine = executor.engine_version()
        for image_id, called in names.items():
            image, problem = _try_image(site, executor, grounds, image_id, tuple(called))
            found.append(image)
            problems += [f"{', '.join(called)}: {problem}"] if problem else []
    except (EngineError, SandboxRefused) as problem:
        problems.append(str(problem))
        missing = list(names.items())[len(found) :]
        found += [ImageTried(tuple(called), image_id, Standing.BROKEN) for image_id, called in missing]
    return Tried(_attestation(site, tuple(found), engine), tuple(problems))


def _try_image(
    site: Site, executor: Executor, grounds: Grounds, image_id: str, names: tuple[str, ...]
) -> tuple[ImageTried, str]:
    if executor.image_size(image_id) is None:
        return ImageTried(names, image_id, Standing.ABSENT), ""
    try:
        verdict = examine_in(image_id, site, executor, grounds)
    except NoPerl:
        return ImageTried(names, image_id, Standing.NO_PERL), ""
    if verdict.problem:
        return ImageTried(names, image_id, Standing.BROKEN), verdict.problem
    return ImageTried(names, image_id, Standing.TRIED, verdict.tried), ""


def _attestation(site: Site, images: tuple[ImageTried, ...], engine: str) -> Attestation:
    runtime = site.policy.sandbox.runtime
    parts = [part.partition("=") for part in engine.split()]
    return Attestation(
        site=site.policy.backend,
        at=clock.now(),
        mode=site.policy.mode,
        version=word(__version__),
        policy=site.digest,
        profile=profile_digest(runtime),
        probe=probe_digest(),
        runtime=runtime,
        engine=tuple((word(name), word(version)) for name, _is, version in parts),
        kernel=word(platform.release()),
        machine=word(platform.machine()),
        cgroup=2 if _CGROUPS_V2.exists() else 1,
        limits=site.limits(),
        running=_running(site),
        images=images,
    )


def _running(site: Site) -> Running:
    try:
        value = say(site.state, Word.STATUS)
    except NotRunning:
        return Running.NONE
    except NoAnswer:
        return Running.SILENT
    if (value.get("policy"), value.get("version")) != (site.digest, __version__):
        return Running.OTHER
    return Running.HALTED if value.get("state") == HALTED else Running.SAME


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise CannotAttest("another `agent attest` runs at this site; wait until it has ended.") from error
    try:
        yield
    finally:
        os.close(lock)


# --- the files ---


def signature_of(report: Path) -> Path:
    """Where the signature of a report lies."""
    return report.with_name(report.name + ".sig")


def require_free(report: Path) -> None:
    """Raise CannotAttest when one of the two files is there already."""
    for place in (report, signature_of(report)):
        if place.exists() or place.is_symlink():
            raise CannotAttest(f"{place} is there already and was left as it is; choose another name.")


def write_signed(site: Site, attestation: Attestation, report: Path) -> None:
    """Write report and signature, overwriting nothing. Raises PolicyProblem, CannotAttest."""
    key = agent_key(site)
    content = text_of(attestation, key.public_key()).encode("utf-8")
    require_free(report)
    _write(report, content)
    try:
        _write(signature_of(report), sign(key, NAMESPACE, content).encode("ascii"))
    except CannotAttest:
        report.unlink()
        raise


def _write(place: Path, content: bytes) -> None:
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise CannotAttest(f"{place} cannot be written ({error.strerror}); choose another place.") from error


def verified(report: Path, key: Ed25519PublicKey) -> tuple[str, str]:
    """The two lines of a report that say what was found, where and when, if the key signed all of it.

    Raises CannotAttest.
    """
    content = _read(report)
    signature = _read(signature_of(report)).decode("ascii", errors="replace")
    if not fits(key, NAMESPACE, content, signature):
        raise CannotAttest(
            f"{report} is not what the agent with this key signed: it was altered, or another key signed it; "
            "do not believe it."
        )
    lines = content.decode("utf-8").split("\n")
    if lines[0] != TITLE:
        raise CannotAttest(f"{report} was signed, but is no attestation; do not believe it.")
    return lines[2], lines[3]


def _read(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            content = file.read(_LARGEST_REPORT + 1)
    except OSError as error:
        raise CannotAttest(
            f"{place} cannot be read ({error.strerror}); a report and its .sig lie side by side."
        ) from error
    if len(content) > _LARGEST_REPORT:
        raise CannotAttest(f"{place} is too large to be an attestation; do not believe it.")
    return content
