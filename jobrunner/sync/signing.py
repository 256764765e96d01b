"""Ed25519 signatures of events (design.md section 8): the agent's claim, which the controller never edits."""

import base64
from pathlib import Path
from typing import Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jobrunner.sync.messages import Event
from jobrunner.sync.vocabulary import ExitClass, Reason, Stage

_CONTEXT: Final = b"jobrunner-event-v1\0"
_KEY_PREFIX: Final = "ed25519:"


class KeyProblem(ValueError):
    """A key that cannot be used; the text says which file or value and what to do."""


def _bytes_to_sign(fields: dict[str, str | int | None]) -> bytes:
    return _CONTEXT + rfc8785.dumps(fields)


def _fields(event: Event) -> dict[str, str | int | None]:
    fields = event.model_dump(mode="json")
    del fields["signature"]
    return fields


def sign_event(
    key: Ed25519PrivateKey,
    *,
    event_id: str,
    job_id: str,
    attempt: int,
    stage: Stage,
    exit_class: ExitClass | None,
    reason: Reason,
    started: int | None,
    finished: int | None,
) -> Event:
    """An event with the agent's signature over the canonical form of all its other fields."""
    fields: dict[str, str | int | None] = {
        "event_id": event_id,
        "job_id": job_id,
        "attempt": attempt,
        "stage": stage.value,
        "exit_class": None if exit_class is None else exit_class.value,
        "reason": reason.value,
        "started": started,
        "finished": finished,
    }
    signature = base64.b64encode(key.sign(_bytes_to_sign(fields))).decode("ascii")
    return Event(
        event_id=event_id,
        job_id=job_id,
        attempt=attempt,
        stage=stage,
        exit_class=exit_class,
        reason=reason,
        started=started,
        finished=finished,
        signature=signature,
    )


def signature_fits(public_key: str, event: Event) -> bool:
    """Whether the event carries a signature of the given public key (`ed25519:<base64>`)."""
    try:
        load_public_key(public_key).verify(base64.b64decode(event.signature), _bytes_to_sign(_fields(event)))
    except InvalidSignature:
        return False
    return True


def load_public_key(text: str) -> Ed25519PublicKey:
    """The key in a text such as `jobrunner agent init` prints; raises KeyProblem."""
    if not text.startswith(_KEY_PREFIX):
        raise KeyProblem("A public key begins with `ed25519:`; copy all that `jobrunner agent init` printed.")
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text[len(_KEY_PREFIX) :], validate=True))
    except ValueError as error:
        raise KeyProblem("This is no public key; copy all that `jobrunner agent init` printed.") from error


def check_public_key(text: str) -> str:
    """The same text if it is a usable public key; raises KeyProblem otherwise."""
    load_public_key(text)
    return text


def public_key_text(key: Ed25519PrivateKey) -> str:
    """`ed25519:<base64 of the 32 raw bytes>`."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _KEY_PREFIX + base64.b64encode(raw).decode("ascii")


def new_private_key_pem() -> bytes:
    """A fresh private key as unencrypted PKCS#8 PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key in PEM; raises KeyProblem when the file is none."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyProblem(f"{path} holds no private key; make one with `jobrunner agent init`.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyProblem(f"{path} holds a key of another kind; an Ed25519 key is needed.")
    return key
