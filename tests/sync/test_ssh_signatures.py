"""Our signatures are those of ssh-keygen, byte for byte, and no other form of one is taken."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.sync.ssh_signatures import fits, key_fingerprint, public_line, sign, signer_fingerprint

pytestmark = pytest.mark.unit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
NAME = "jobrunner-attestation"
TEXT = b"EVERY WALL HELD\n"
SIGNED = sign(KEY, NAME, TEXT)


@pytest.mark.parametrize("text", [b"", TEXT, bytes(range(256)) * 300])
def test_ssh_keygen_makes_the_same_signature(tmp_path: Path, text: bytes) -> None:
    private = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (tmp_path / "key").write_bytes(private)
    (tmp_path / "key").chmod(0o600)
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAME, "-f", str(tmp_path / "key")]
    done = subprocess.run(words, input=text, capture_output=True, check=True)
    assert sign(KEY, NAME, text) == done.stdout.decode()
    (tmp_path / "key.pub").write_text(public_line(PUBLIC) + "\n")
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")], capture_output=True, check=True
    )
    assert told.stdout.decode().split()[1] == key_fingerprint(PUBLIC) == signer_fingerprint(SIGNED)


def test_ssh_keygen_takes_it(tmp_path: Path) -> None:
    (tmp_path / "signers").write_text(f"agent {public_line(PUBLIC)}\n")
    (tmp_path / "sig").write_text(SIGNED)
    words = ["ssh-keygen", "-Y", "verify", "-I", "agent", "-n", NAME]
    words += ["-f", str(tmp_path / "signers"), "-s", str(tmp_path / "sig")]
    assert subprocess.run(words, input=TEXT, capture_output=True, check=False).returncode == 0
    assert subprocess.run(words, input=TEXT + b" ", capture_output=True, check=False).returncode != 0


def test_it_fits_this_key_this_purpose_and_these_bytes_alone() -> None:
    assert fits(PUBLIC, NAME, TEXT, SIGNED)
    assert not fits(PUBLIC, NAME, TEXT + b"\n", SIGNED)
    assert not fits(PUBLIC, "jobrunner-approval", TEXT, SIGNED)
    other = Ed25519PrivateKey.generate()
    assert not fits(other.public_key(), NAME, TEXT, SIGNED)
    assert not fits(PUBLIC, NAME, TEXT, sign(other, NAME, TEXT))
    assert not fits(PUBLIC, NAME, TEXT, sign(KEY, "jobrunner-approval", TEXT))


@pytest.mark.parametrize(
    "spoiled", ["", "x", SIGNED + "\n", SIGNED[:-1], " " + SIGNED, SIGNED.replace("\n", "")]
)
def test_another_form_of_the_same_signature_does_not_fit(spoiled: str) -> None:
    assert not fits(PUBLIC, NAME, TEXT, spoiled)


@given(st.integers(0, len(SIGNED) - 1), st.characters(codec="utf-8"))
def test_no_sign_of_it_can_be_another(place: int, sign_there: str) -> None:
    altered = SIGNED[:place] + sign_there + SIGNED[place + 1 :]
    assert fits(PUBLIC, NAME, TEXT, altered) is (altered == SIGNED)


@given(st.text(max_size=200))
def test_no_text_is_fatal(text: str) -> None:
    assert not fits(PUBLIC, NAME, TEXT, text)
    assert signer_fingerprint(text) == ""
