"""Whether an approval counts at this site, in the order of threats.md section 6.

The controller carries approvals and cannot make one: only signatures by keys in the site's own
`allowed_signers` file count.
"""

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Final, Protocol, TypeVar

from jobrunner.agent.outcome import end
from jobrunner.agent.policy import PolicyProblem, Site, check_private
from jobrunner.sync.approvals import NAMESPACE, Envelope, Payload, read_envelope
from jobrunner.sync.messages import Malformed, Offer
from jobrunner.sync.vocabulary import Reason

V = TypeVar("V")

_DEADLINE_S: Final = 10
_MOST_REMEMBERED: Final = 1000
_VERIFIED_FOR_S: Final = 10.0
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C", "TZ": "UTC"}
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9._@+-]{1,200}")
_PLAIN_LINE: Final = re.compile(r"[\t -~]*")
_NAMESPACE_OPTION: Final = f'namespaces="{NAMESPACE}"'
_HAS_DATES: Final = re.compile(rb"valid-", re.IGNORECASE)
_DATE_OPTION: Final = re.compile(r'valid-(after|before)="[0-9]{8}([0-9]{4}([0-9]{2})?)?Z"')


class SignerFiles(Protocol):
    """Whose signatures count, and whose do no more: a site, or the same two files anywhere else."""

    @property
    def allowed_signers(self) -> Path: ...

    @property
    def revoked(self) -> Path | None: ...


def check_signers_file(site: SignerFiles) -> None:
    """Raise PolicyProblem unless the file of allowed signers is safe and every line means what it seems to.

    ssh-keygen takes a line without `namespaces=` for every purpose, and a date without Z as local time; its
    options are read in any case. So only the options that are meant here pass, letter by letter.
    """
    path = site.allowed_signers
    try:
        check_private(path, "approvals.allowed_signers")
        lines = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyProblem(
            f"approvals.allowed_signers: {path} cannot be read; put the data controllers' keys there."
        ) from error
    for number, line in enumerate(lines, start=1):
        fault = _fault_of_line(line)
        if fault:
            raise PolicyProblem(f"approvals.allowed_signers: line {number} of {path} {fault}.")
    if site.revoked is not None:
        try:
            check_private(site.revoked, "approvals.revoked")
        except OSError as error:
            raise PolicyProblem(
                f"approvals.revoked: {site.revoked} cannot be read; make the file."
            ) from error


def _fault_of_line(line: str) -> str | None:
    """What is wrong with a line of the signers file, and what to do; None for a good one."""
    if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
        return None
    if _PLAIN_LINE.fullmatch(line) is None:
        return "has a sign that is not plain ASCII; write it without"
    words = line.split()
    if _PRINCIPAL.fullmatch(words[0]) is None:
        return "must begin with one plain name"
    options = words[1].split(",") if len(words) > 1 else []
    if "cert-authority" in [option.lower() for option in options]:
        return "trusts an authority; list single keys"
    if _NAMESPACE_OPTION not in options:
        return f"lacks {_NAMESPACE_OPTION} after the name; add it"
    for option in options:
        if option.lower().startswith("valid-") and _DATE_OPTION.fullmatch(option) is None:
            return f"has {option}; write a date as YYYYMMDDZ, with the Z"
        if option != _NAMESPACE_OPTION and _DATE_OPTION.fullmatch(option) is None:
            return f"has {option}; only namespaces, valid-after and valid-before may stand there"
    return None


def check_approval(
    offer: Offer, site: Site, *, highest_serial: int, now: int, dataset: str | None = None
) -> tuple[Payload, str]:
    """The payload of a valid approval that covers the offer, and the sha256 of the envelope.

    With `dataset` the job reads that database, and the approval must allow it. Raises Ended with
    approval_missing, approval_invalid (malformed, bad_signature, unknown_key, revoked, threshold, mismatch,
    superseded), approval_expired (expired, not_yet), site_policy (wrong_site) or database_not_allowed
    (approval, dataset).
    """
    if offer.approval is None:
        raise end(Reason.APPROVAL_MISSING, "", f"No approval came with project {offer.project}.")
    envelope, payload = check_form(offer.approval)
    check_threshold(check_signatures(envelope, site), _threshold(site, dataset))
    check_site(payload, site.policy.backend)
    field = payload.mismatch(
        project=offer.project,
        repo=offer.repo,
        branch=offer.branch,
        commit=offer.commit,
        action=offer.action,
    )
    if field is not None:
        raise end(Reason.APPROVAL_INVALID, "mismatch", f"The approval does not cover this {field}.")
    check_date(payload, now)
    check_serial(payload, highest_serial)
    if dataset is not None:
        _check_dataset(payload, site, dataset)
    return payload, hashlib.sha256(offer.approval.encode("utf-8")).hexdigest()


# --- the checks that need no offer; each raises Ended ---


def check_form(text: str) -> tuple[Envelope, Payload]:
    """Step 1: both layers of an approval, strict and canonical."""
    try:
        return read_envelope(text)
    except Malformed as error:
        raise end(Reason.APPROVAL_INVALID, "malformed", f"The approval cannot be read: {error}.") from error


def check_signatures(envelope: Envelope, files: SignerFiles) -> tuple[str, ...]:
    """Step 2: who made each signature, in their order."""
    payload = envelope.payload.encode("utf-8")
    return tuple(_signer(payload, signature.encode("utf-8"), files) for signature in envelope.signatures)


def check_threshold(signers: tuple[str, ...], threshold: int) -> None:
    """Step 3: people count, not signatures."""
    people = len(set(signers))
    if people < threshold:
        raise end(
            Reason.APPROVAL_INVALID,
            "threshold",
            f"The approval has {people} valid signers; this site asks for {threshold}.",
        )


def check_site(payload: Payload, backend: str) -> None:
    """The part of step 4 that is about the site itself."""
    if backend not in payload.sites:
        raise end(
            Reason.SITE_POLICY, "wrong_site", f"The approval is for {', '.join(payload.sites)}, not us."
        )


def check_date(payload: Payload, now: int) -> None:
    """Step 5."""
    if now < payload.not_before:
        raise end(Reason.APPROVAL_EXPIRED, "not_yet", "The approval is not in force yet.")
    if now >= payload.not_after:
        raise end(Reason.APPROVAL_EXPIRED, "expired", "The approval has run out; ask the data controller.")


def check_serial(payload: Payload, highest_serial: int) -> None:
    """Step 6: `highest_serial` is that of any approval of the project which was seen before."""
    if payload.serial < highest_serial:
        raise end(Reason.APPROVAL_INVALID, "superseded", "A newer approval of this project was seen before.")


def _threshold(site: Site, dataset: str | None) -> int:
    """How many people must have signed; a site may ask for more of them where a database is used."""
    section = site.policy.approvals
    if dataset is None or section.database_threshold is None:
        return section.threshold
    return section.database_threshold


def _check_dataset(payload: Payload, site: Site, dataset: str) -> None:
    if not payload.database:
        raise end(Reason.DATABASE_NOT_ALLOWED, "approval", "The approval allows no database.")
    if dataset not in payload.datasets:
        raise end(Reason.DATABASE_NOT_ALLOWED, "dataset", f"The approval does not name dataset {dataset}.")
    # The policy may have changed since the job was derived.
    section = site.policy.database
    if section is None or section.dataset != dataset:
        raise end(Reason.DATABASE_NOT_ALLOWED, "dataset", f"This site has no dataset {dataset} any more.")


def _signer(payload: bytes, signature: bytes, site: SignerFiles) -> str:
    """Name of the allowed signer who made this signature; raises Ended when there is none.

    The three looks of one short job are one run of ssh-keygen, unless the site's files change between them.
    """
    asked = _question(payload, signature, site)
    name, until = _VERIFIED.get(asked, ("", 0.0)) if asked else ("", 0.0)
    if _seconds() < until:
        return name
    began = _seconds()
    name = _verified(payload, signature, site)
    # ssh-keygen read the files itself: what it said is kept only if they are still those that were asked for.
    if asked and _question(payload, signature, site) == asked:
        _remember(_VERIFIED, asked, (name, began + _VERIFIED_FOR_S))
    return name


def _question(payload: bytes, signature: bytes, site: SignerFiles) -> bytes | None:
    """Digest of all that the answer hangs on: approval, signature, allowed keys, revoked keys.

    None when it hangs on the time as well, since a key has a date, and when a file cannot be read; then
    ssh-keygen is asked each time.
    """
    try:
        allowed = site.allowed_signers.read_bytes()
        if _HAS_DATES.search(allowed):
            return None
        parts = [payload, signature, allowed]
        if site.revoked is not None:
            parts.append(site.revoked.read_bytes())
    except OSError:
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _seconds() -> float:
    """A clock that nobody can set, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _verified(payload: bytes, signature: bytes, site: SignerFiles) -> str:
    handle = os.memfd_create("signature")
    try:
        os.write(handle, signature)
        place = f"/proc/self/fd/{handle}"
        known = _NAMES.get(signature)
        name = known or _principal(place, handle, site)
        verify = ["verify", "-n", NAMESPACE, "-s", place, "-f", str(site.allowed_signers), "-I", name]
        not_revoked = [] if site.revoked is None else ["-r", str(site.revoked)]
        if _ssh_keygen([*verify, *not_revoked], handle, payload).returncode == 0:
            _remember(_NAMES, signature, name)
            return name
        if known is not None:
            # The site's files may have changed since: look as if for the first time, for the true reason.
            _NAMES.pop(signature, None)
            return _verified(payload, signature, site)
        if not_revoked and _ssh_keygen(verify, handle, payload).returncode == 0:
            raise end(Reason.APPROVAL_INVALID, "revoked", "A signature is by a revoked key.")
        raise end(Reason.APPROVAL_INVALID, "bad_signature", "A signature does not fit the approval.")
    finally:
        os.close(handle)


_NAMES: Final[dict[bytes, str]] = {}
"""Whose name to verify a signature under, as found before."""
_VERIFIED: Final[dict[bytes, tuple[str, float]]] = {}
"""Who signed, by `_question`, and until when that counts."""


def _remember(memory: dict[bytes, V], key: bytes, value: V) -> None:
    if len(memory) >= _MOST_REMEMBERED:
        memory.clear()
    memory[key] = value


def _principal(place: str, handle: int, site: SignerFiles) -> str:
    found = _ssh_keygen(["find-principals", "-s", place, "-f", str(site.allowed_signers)], handle, b"")
    names = found.stdout.decode("utf-8", "replace").split()
    if found.returncode != 0 or not names or _PRINCIPAL.fullmatch(names[0]) is None:
        raise end(Reason.APPROVAL_INVALID, "unknown_key", "A signature is by no key that this site allows.")
    return names[0]


def _ssh_keygen(arguments: list[str], handle: int, data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *arguments],
            input=data,
            capture_output=True,
            timeout=_DEADLINE_S,
            env=_ENVIRONMENT,
            pass_fds=(handle,),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise end(Reason.APPROVAL_INVALID, "bad_signature", "ssh-keygen gave no answer in time.") from error
