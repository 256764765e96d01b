from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.study import CommitNotFound, check_branch, check_commit

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "branch", ["main", "feature/add-x", "v1.2", "fix_#12", "a@b", "dependabot/npm/x-1.0.3", "b" * 200]
)
def test_branches_of_daily_life_are_accepted(branch: str) -> None:
    check_branch(branch)


BAD = [
    *(
        "",
        "-rf",
        "--upload-pack=x",
        "a..b",
        "a.lock",
        "a/.b",
        "a//b",
        "/a",
        "a/",
        "a.",
        "@",
        "a@{1}",
        "a b",
        "a:b",
    ),
    *(
        "a~1",
        "a^",
        "a*",
        "a?",
        "a[",
        "a\\b",
        "a\nb",
        "a\0b",
        "m\u00e4in",
        "b" * 201,
        "a/b.lock/c",
        "..",
        "a/../b",
    ),
]


@pytest.mark.parametrize("branch", BAD)
def test_other_branches_are_refused(branch: str) -> None:
    with pytest.raises(CommitNotFound) as refused:
        check_branch(branch)

    assert (refused.value.reason, refused.value.detail) == ("commit_not_found", "branch")


@settings(max_examples=150, deadline=None)
@given(st.text("abz09._+#@=,/-{~^ :*", min_size=1, max_size=12))
def test_git_accepts_every_branch_that_we_accept(branch: str) -> None:
    try:
        check_branch(branch)
    except CommitNotFound:
        return

    done = subprocess.run(["git", "check-ref-format", f"refs/heads/{branch}"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "sha", ["", "main", "a" * 39, "a" * 41, "A" * 40, "g" * 40, "a" * 40 + "\n", "a" * 64, "\u0661" * 40]
)
def test_only_a_whole_lower_case_commit_id_is_accepted(sha: str) -> None:
    with pytest.raises(CommitNotFound) as refused:
        check_commit(sha)

    assert (refused.value.reason, refused.value.detail) == ("commit_not_found", "commit")


def test_a_commit_id_is_accepted() -> None:
    check_commit("0123456789abcdef0123456789abcdef01234567")
