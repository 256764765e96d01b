"""Signatures as `ssh-keygen -Y` makes and checks them (OpenSSH, PROTOCOL.sshsig), with an Ed25519 key.

So what an agent signs can be checked by anybody who has OpenSSH and the agent's public key.
"""

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = (1).to_bytes(4, "big")
_KIND: Final = b"ssh-ed25519"
_HASH: Final = b"sha512"
_NOTHING_RESERVED: Final = b""
_SIGNATURE_BYTES: Final = 64
_LINE: Final = 70


def sign(key: Ed25519PrivateKey, namespace: str, message: bytes) -> str:
    """An armoured signature, which `ssh-keygen -Y verify -n NAMESPACE` takes."""
    return _armoured(key.public_key(), namespace, key.sign(_to_sign(namespace, message)))


def fits(public: Ed25519PublicKey, namespace: str, message: bytes, armoured: str) -> bool:
    """Whether the signature is by this key, for this purpose and of these bytes, in the form of `sign`.

    Nothing in it is trusted: it must be, sign for sign, what `sign` would have written.
    """
    signature = (_blob(armoured) or b"")[-_SIGNATURE_BYTES:]
    if armoured != _armoured(public, namespace, signature):
        return False
    try:
        public.verify(signature, _to_sign(namespace, message))
    except InvalidSignature:
        return False
    return True


def public_line(public: Ed25519PublicKey) -> str:
    """Kind and base64 of the key, as in a `.pub` file of OpenSSH and in a file of allowed signers."""
    return f"{_KIND.decode()} {base64.b64encode(_key_blob(public)).decode()}"


def key_fingerprint(public: Ed25519PublicKey) -> str:
    """SHA256:..., as `ssh-keygen -l` prints it."""
    return _fingerprint(_key_blob(public))


def signer_fingerprint(armoured: str) -> str:
    """The key, of any kind, that a signature says made it, as SHA256:...; "" when it cannot be read.

    Only read, not checked.
    """
    blob = _blob(armoured) or b""
    head = _MAGIC + _VERSION
    start = len(head) + 4
    size = int.from_bytes(blob[len(head) : start], "big")
    if not blob.startswith(head) or not 0 < size <= len(blob) - start:
        return ""
    return _fingerprint(blob[start : start + size])


def _fingerprint(key_blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key_blob).digest()).decode().rstrip("=")


def _blob(armoured: str) -> bytes | None:
    text = "".join(armoured.split("\n"))
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        return None
    try:
        return base64.b64decode(text[len(_BEGIN) : -len(_END)], validate=True)
    except (binascii.Error, ValueError):
        return None


def _armoured(public: Ed25519PublicKey, namespace: str, signature: bytes) -> str:
    parts = (
        _key_blob(public), namespace.encode(), _NOTHING_RESERVED, _HASH, _string(_KIND) + _string(signature)
    )  # fmt: skip
    text = base64.b64encode(_MAGIC + _VERSION + b"".join(map(_string, parts))).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _to_sign(namespace: str, message: bytes) -> bytes:
    # The purpose is part of what is signed: a signature made for another one does not fit.
    parts = (namespace.encode(), _NOTHING_RESERVED, _HASH, hashlib.sha512(message).digest())
    return _MAGIC + b"".join(map(_string, parts))


def _key_blob(public: Ed25519PublicKey) -> bytes:
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _string(_KIND) + _string(raw)


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
