"""Every state and every reason has its sentences, and they say nothing that the data held."""

import subprocess
from pathlib import Path

import pytest
from django.test import Client

from jobrunner.controller.feed.glossary import STATES, WAITS, glossary
from jobrunner.controller.feed.templatetags.wording import SHAPES
from jobrunner.controller.jobs.advice import NEXT, where_the_log_is
from jobrunner.controller.jobs.transitions import FINAL, REASONS, State, Wait
from jobrunner.controller.jobs.why import MEANING
from jobrunner.sync.approvals import read_envelope
from jobrunner.sync.ssh_signatures import signer_fingerprint
from jobrunner.sync.vocabulary import Reason
from tests.fixtures.controller_server import envelope
from tests.fixtures.public_scene import sign

pytestmark = pytest.mark.unit

ENDS = [(state, reason) for state in FINAL for reason in REASONS[state]]


def test_every_end_has_both_sentences_and_nothing_else_has() -> None:
    assert set(NEXT) == set(ENDS)
    assert set(ENDS) <= set(MEANING)
    told = {reason for _, reason in ENDS}
    stages = {Reason.PREPARING, Reason.EXECUTING, Reason.COLLECTING}
    assert {reason.value for reason in Reason if reason not in stages} <= told
    for sentence in NEXT.values():
        assert sentence.endswith(".")
        assert sentence.count("`") % 2 == 0


def test_every_state_and_wait_has_a_sentence_and_every_state_a_shape_of_its_own() -> None:
    assert set(STATES) == set(State)
    assert set(WAITS) == set(Wait)
    assert set(SHAPES) == set(State)
    assert len(set(SHAPES.values())) == len(State)


@pytest.mark.parametrize(("state", "reason"), ENDS)
def test_the_place_of_the_log_is_told_by_state_and_ids_alone(state: State, reason: str) -> None:
    said = where_the_log_is(state, reason, job_id="j1", attempt=2, workspace="w", action="a")
    if state is State.SUCCEEDED:
        assert "`workspaces/w/metadata/a.log`" in said
        assert "moderately sensitive" in said
    elif reason in ("dependency_failed", "pipeline_invalid", "commit_not_found", "image_not_allowed"):
        assert said == "It has no log: its code did not run."
    elif state is State.FAILED:
        assert "`runs/j1/2/log`" in said
        assert "highly sensitive" in said
    never_tried = where_the_log_is(state, reason, job_id="j1", attempt=0, workspace="w", action="a")
    if state is State.CANCELLED:
        assert never_tried == "It has no log: its code did not run."


def test_a_job_that_has_not_ended_has_no_place_of_a_log() -> None:
    for state in (State.PENDING, State.RUNNING):
        assert where_the_log_is(state, "x", job_id="j", attempt=1, workspace="w", action="a") == ""


def test_the_page_about_it_explains_every_state_and_reason() -> None:
    text = Client(HTTP_HOST="localhost").get("/about").content.decode()
    for entry in glossary():
        assert f'id="state-{entry.state}"' in text
        for reason in entry.reasons:
            assert text.count(f'id="{reason.reason}"') == 1
    assert {reason.reason for entry in glossary() for reason in entry.reasons} == {
        reason for reasons in REASONS.values() for reason in reasons
    }


def test_a_fingerprint_is_that_of_the_key_as_ssh_keygen_prints_it(tmp_path: Path) -> None:
    text = sign(tmp_path, envelope(project="p", sites=("s",), repos=("https://github.com/o/r",)))
    (signature,) = read_envelope(text)[0].signatures
    (public,) = tmp_path.glob("*.pub")
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public)], capture_output=True, text=True, check=True
    ).stdout
    assert signer_fingerprint(signature) == listed.split()[1]


@pytest.mark.parametrize(
    "armoured",
    [
        "",
        "-----BEGIN SSH SIGNATURE-----\n!!!\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAf////8=\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAAAA=\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n\N{SNOWMAN}\n-----END SSH SIGNATURE-----\n",
    ],
)
def test_what_is_no_signature_has_no_fingerprint(armoured: str) -> None:
    assert signer_fingerprint(armoured) == ""
