"""The agent's checks of an approval that need no offer, one after the other, for people who want to know why.

It is the agent's own code with the files of one's own choice: what is refused here is refused there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec

from jobrunner.agent.approvals import (
    check_date,
    check_form,
    check_serial,
    check_signatures,
    check_signers_file,
    check_site,
    check_threshold,
)
from jobrunner.agent.outcome import Ended, Outcome
from jobrunner.sync.ssh_signatures import signer_fingerprint

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The two files that a site's policy names under [approvals]."""

    allowed_signers: Path
    revoked: Path | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One check. `refused` is how the agent ends a job for it, None when it held; then `found` says what."""

    check: str
    found: str = ""
    refused: Outcome | None = None


ADVICE: Final = {
    "malformed": "Sign it if nobody has; else make it anew with `jobrunner approval new` and change no byte.",
    "bad_signature": "The text was changed after it was signed, or signed for another purpose; sign it anew.",
    "unknown_key": "Have it signed by a key of the list, or have the site add the key if that is in date.",
    "revoked": "Have it signed by another key; this one must not be trusted any more.",
    "threshold": "Have another person of the list sign it too, with `jobrunner approval sign`.",
    "wrong_site": "Sign one that names this site.",
    "expired": "Sign a new one with a higher serial.",
    "not_yet": "Wait, or sign one that begins earlier.",
    "superseded": "Sign it with a higher serial than every earlier one of the project.",
}
"""What to do, by the detail of a refusal."""


def looks(
    text: str,
    files: KeyFiles,
    *,
    now: int,
    threshold: int = 1,
    site: str | None = None,
    highest_serial: int | None = None,
) -> list[Look]:
    """Every check that can be made, in the agent's order; the first that refuses is what the agent would say.

    Without `site` or `highest_serial` the check that needs it is left out. Raises PolicyProblem when the
    agent would not start with these files.
    """
    check_signers_file(files)
    try:
        envelope, payload = check_form(text)
    except Ended as ended:
        return [Look("form", refused=ended.outcome)]
    made = [Look("form", f"whole; signatures: {len(envelope.signatures)}")]
    try:
        signers = check_signatures(envelope, files)
    except Ended as ended:
        made.append(Look("signatures", refused=ended.outcome))
    else:
        keys = [signer_fingerprint(signature) for signature in envelope.signatures]
        by = ", ".join(f"{name} with {key}" for name, key in zip(signers, keys, strict=True))
        made.append(Look("signatures", by))
        made.append(
            _look(
                "people", f"{len(set(signers))}, asked for {threshold}", check_threshold, signers, threshold
            )
        )
    if site is not None:
        made.append(_look("site", f"it names {site}", check_site, payload, site))
    made.append(_look("date", "in force now", check_date, payload, now))
    if highest_serial is not None:
        made.append(_look("serial", str(payload.serial), check_serial, payload, highest_serial))
    return made


def _look(check: str, found: str, act: Callable[P, None], *given: P.args, **named: P.kwargs) -> Look:
    try:
        act(*given, **named)
    except Ended as ended:
        return Look(check, refused=ended.outcome)
    return Look(check, found)
