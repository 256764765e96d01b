"""Whether an approval counts at this site, in the order of threats.md section 6.

The controller carries approvals and cannot make one: only signatures by keys in the site's own
`allowed_signers` file count.
"""

import hashlib
import os
import re
import subprocess
from typing import Final

from jobrunner.agent.outcome import end
from jobrunner.agent.policy import PolicyProblem, Site, check_private
from jobrunner.sync.approvals import NAMESPACE, Payload, read_envelope
from jobrunner.sync.messages import Malformed, Offer
from jobrunner.sync.vocabulary import Reason

_DEADLINE_S: Final = 10
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C", "TZ": "UTC"}
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9._@+-]{1,200}")


def check_signers_file(site: Site) -> None:
    """Raise PolicyProblem unless the file of allowed signers is safe and every line means what it seems to.

    ssh-keygen takes a line without `namespaces=` for every purpose, and a date without Z as local time.
    """
    path = site.allowed_signers
    try:
        check_private(path, "approvals.allowed_signers")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyProblem(
            f"approvals.allowed_signers: {path} cannot be read; put the data controllers' keys there."
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if f'namespaces="{NAMESPACE}"' not in line:
            raise PolicyProblem(
                f'approvals.allowed_signers: line {number} of {path} lacks namespaces="{NAMESPACE}"; add it.'
            )
        if "cert-authority" in line:
            raise PolicyProblem(
                f"approvals.allowed_signers: line {number} of {path} trusts an authority; list single keys."
            )
        if _PRINCIPAL.fullmatch(line.split(maxsplit=1)[0]) is None:
            raise PolicyProblem(
                f"approvals.allowed_signers: line {number} of {path} must begin with one plain name."
            )
        for date in re.findall(r'valid-(?:after|before)="?([0-9A-Za-z]+)', line):
            if not date.endswith("Z"):
                raise PolicyProblem(
                    f"approvals.allowed_signers: line {number} of {path} has local date {date}; add Z."
                )
    if site.revoked is not None:
        try:
            check_private(site.revoked, "approvals.revoked")
        except OSError as error:
            raise PolicyProblem(
                f"approvals.revoked: {site.revoked} cannot be read; make the file."
            ) from error


def check_approval(offer: Offer, site: Site, *, highest_serial: int, now: int) -> tuple[Payload, str]:
    """The payload of a valid approval that covers the offer, and the sha256 of the envelope.

    Raises Ended with approval_missing, approval_invalid (malformed, bad_signature, unknown_key, revoked,
    threshold, mismatch, superseded), approval_expired (expired, not_yet) or site_policy (wrong_site).
    """
    if offer.approval is None:
        raise end(Reason.APPROVAL_MISSING, "", f"No approval came with project {offer.project}.")
    try:
        envelope, payload = read_envelope(offer.approval)
    except Malformed as error:
        raise end(Reason.APPROVAL_INVALID, "malformed", f"The approval cannot be read: {error}.") from error
    signers = _signers(envelope.payload, envelope.signatures, site)
    if len(signers) < site.policy.approvals.threshold:
        raise end(
            Reason.APPROVAL_INVALID,
            "threshold",
            f"The approval has {len(signers)} valid signers; this site asks for more.",
        )
    if site.policy.backend not in payload.sites:
        raise end(
            Reason.SITE_POLICY, "wrong_site", f"The approval is for {', '.join(payload.sites)}, not us."
        )
    field = payload.mismatch(
        project=offer.project,
        repo=offer.repo,
        branch=offer.branch,
        commit=offer.commit,
        action=offer.action,
    )
    if field is not None:
        raise end(Reason.APPROVAL_INVALID, "mismatch", f"The approval does not cover this {field}.")
    if now < payload.not_before:
        raise end(Reason.APPROVAL_EXPIRED, "not_yet", "The approval is not in force yet.")
    if now >= payload.not_after:
        raise end(Reason.APPROVAL_EXPIRED, "expired", "The approval has run out; ask the data controller.")
    if payload.serial < highest_serial:
        raise end(Reason.APPROVAL_INVALID, "superseded", "A newer approval of this project was seen before.")
    return payload, hashlib.sha256(offer.approval.encode("utf-8")).hexdigest()


def _signers(payload: str, signatures: tuple[str, ...], site: Site) -> set[str]:
    return {_signer(payload.encode("utf-8"), signature.encode("utf-8"), site) for signature in signatures}


def _signer(payload: bytes, signature: bytes, site: Site) -> str:
    """Name of the allowed signer who made this signature; raises Ended when there is none."""
    handle = os.memfd_create("signature")
    try:
        os.write(handle, signature)
        place = f"/proc/self/fd/{handle}"
        signers = str(site.allowed_signers)
        found = _ssh_keygen(["find-principals", "-s", place, "-f", signers], handle, b"")
        names = found.stdout.decode("utf-8", "replace").split()
        if found.returncode != 0 or not names or _PRINCIPAL.fullmatch(names[0]) is None:
            raise end(
                Reason.APPROVAL_INVALID, "unknown_key", "A signature is by no key that this site allows."
            )
        verify = ["verify", "-n", NAMESPACE, "-s", place, "-f", signers, "-I", names[0]]
        if _ssh_keygen(verify, handle, payload).returncode != 0:
            raise end(Reason.APPROVAL_INVALID, "bad_signature", "A signature does not fit the approval.")
        if site.revoked is not None:
            revoked = [*verify, "-r", str(site.revoked)]
            if _ssh_keygen(revoked, handle, payload).returncode != 0:
                raise end(Reason.APPROVAL_INVALID, "revoked", "A signature is by a revoked key.")
        return names[0]
    finally:
        os.close(handle)


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
