"""An event is the agent's claim: no field of it can be changed without the signature telling."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from jobrunner.sync.messages import Event
from jobrunner.sync.signing import (
    KeyProblem,
    check_public_key,
    load_private_key,
    new_private_key_pem,
    public_key_text,
    sign_event,
    signature_fits,
)
from jobrunner.sync.vocabulary import Reason, Stage
from tests.sync.strategies import event_fields

pytestmark = pytest.mark.unit

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = public_key_text(KEY)
OTHER = public_key_text(Ed25519PrivateKey.from_private_bytes(bytes(32)))

EVENT = sign_event(
    KEY, event_id="a" * 26, job_id="b" * 26, attempt=1, stage=Stage.PREPARING, exit_class=None,
    reason=Reason.PREPARING, started=1_790_000_000, finished=None,
)  # fmt: skip


@given(event_fields())
def test_a_signed_event_fits_its_key_and_no_other(fields: dict[str, Any]) -> None:
    event = sign_event(KEY, **fields)
    assert signature_fits(PUBLIC, event)
    assert not signature_fits(OTHER, event)


@given(event_fields(), event_fields(), st.data())
def test_any_changed_field_breaks_the_signature(
    fields: dict[str, Any], others: dict[str, Any], data: st.DataObject
) -> None:
    event = sign_event(KEY, **fields)
    name = data.draw(st.sampled_from(sorted(fields)))
    assume(fields[name] != others[name])
    # model_copy does not validate: even a combination that no event may have must not verify.
    assert not signature_fits(PUBLIC, event.model_copy(update={name: others[name]}))


@given(st.integers(0, 63), st.integers(1, 255))
def test_any_changed_byte_of_the_signature_breaks_it(place: int, flip: int) -> None:
    raw = bytearray(base64.b64decode(EVENT.signature))
    raw[place] ^= flip
    changed = base64.b64encode(bytes(raw)).decode()
    assert not signature_fits(PUBLIC, EVENT.model_copy(update={"signature": changed}))


def test_every_field_of_an_event_is_signed() -> None:
    # A field that comes later must not stay outside of the signature.
    assert set(Event.model_fields) - {"signature"} == {
        "event_id", "job_id", "attempt", "stage", "exit_class", "reason", "started", "finished",
    }  # fmt: skip


def test_the_signature_is_for_this_purpose_only() -> None:
    # The same fields, signed without the context that names what they are for.
    plain = KEY.sign(b'{"attempt":1}')
    event = EVENT.model_copy(update={"signature": base64.b64encode(plain).decode()})
    assert not signature_fits(PUBLIC, event)


def test_the_signature_survives_the_wire() -> None:
    assert signature_fits(PUBLIC, Event.model_validate_json(EVENT.to_bytes()))


@pytest.mark.parametrize(
    "text", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", PUBLIC[8:], PUBLIC + "A", PUBLIC[:-1] + "!"]
)
def test_what_is_no_public_key_is_said_to_be_none(text: str) -> None:
    with pytest.raises(KeyProblem):
        check_public_key(text)


def test_a_public_key_is_taken_as_it_is() -> None:
    assert check_public_key(PUBLIC) == PUBLIC


def test_a_new_private_key_can_be_read_and_differs_each_time(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    place.write_bytes(new_private_key_pem())
    assert public_key_text(load_private_key(place)).startswith("ed25519:")
    assert new_private_key_pem() != new_private_key_pem()


def test_a_file_that_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="no private key"):
        load_private_key(tmp_path / "absent.pem")
    place = tmp_path / "key.pem"
    place.write_text("not a key")
    with pytest.raises(KeyProblem, match="no private key"):
        load_private_key(place)
    place.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(KeyProblem, match="another kind"):
        load_private_key(place)
