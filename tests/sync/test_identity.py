"""Names that both sides derive (design.md section 2, threats.md section 6): vectors by hashlib, by hand."""

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.sync.identity import branch_slug, job_id, new_id, workspace_name

pytestmark = pytest.mark.unit

REQUEST = "abcdefghijklmnopqrstuvwxyz"


def test_job_id_is_base32_of_sha256_of_request_nul_action() -> None:
    digest = hashlib.sha256(b"abcdefghijklmnopqrstuvwxyz\x00generate_dataset").digest()
    assert job_id(REQUEST, "generate_dataset") == base64.b32encode(digest).decode().lower()[:26]


def test_job_id_has_not_changed_since_it_was_first_given_out() -> None:
    # Written down once: a changed rule would give every known job a new name.
    assert job_id(REQUEST, "generate_dataset") == "i7wbpeposc4pzewnzuiqy54fd6"


@given(st.text("ab2", min_size=1, max_size=4), st.text("ab2", min_size=1, max_size=4))
def test_the_border_between_request_and_action_counts(request: str, action: str) -> None:
    if len(request) > 1:
        assert job_id(request, action) != job_id(request[:-1], request[-1] + action)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_job_id_always_has_its_shape(action: str) -> None:
    assert re.fullmatch("[a-z2-7]{26}", job_id(REQUEST, action))


def test_P15_new_ids_differ_and_have_the_same_shape() -> None:
    found = {new_id() for _ in range(1000)}
    assert len(found) == 1000
    assert all(re.fullmatch("[a-z2-7]{26}", one) for one in found)


def test_workspace_name_is_project_branch_and_hash() -> None:
    digest = hashlib.sha256(b"https://github.com/opensafely/x\x00Feature/New_Thing").hexdigest()
    name = workspace_name("heart-study", "https://github.com/opensafely/x", "Feature/New_Thing")
    assert name == f"heart-study-feature-new-thing-{digest[:8]}"


def test_workspace_name_has_not_changed_since_it_was_first_given_out() -> None:
    assert (
        workspace_name("heart-study", "https://github.com/opensafely/x", "main")
        == "heart-study-main-9f09af5a"
    )


def test_branches_with_one_slug_get_two_workspaces() -> None:
    url = "https://github.com/opensafely/x"
    assert branch_slug("a/b") == branch_slug("a-b")
    assert workspace_name("p", url, "a/b") != workspace_name("p", url, "a-b")


def test_repositories_with_one_branch_get_two_workspaces() -> None:
    assert workspace_name("p", "https://a.example/x", "main") != workspace_name(
        "p", "https://b.example/x", "main"
    )


@pytest.mark.parametrize(
    ("branch", "slug"),
    [
        ("main", "main"),
        ("Release/2026.11", "release-2026-11"),
        ("--x--", "x"),
        ("\u00fc\u00df", "branch"),
        ("x" * 60, "x" * 40),
        ("y" * 39 + "/z", "y" * 39),
    ],
)
def test_branch_slug(branch: str, slug: str) -> None:
    assert branch_slug(branch) == slug


@given(st.text(max_size=200))
def test_branch_slug_is_always_plain(branch: str) -> None:
    slug = branch_slug(branch)
    assert re.fullmatch("[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", slug)
