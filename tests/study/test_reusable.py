"""From `name:version` to a commit: real tags behind a real git host (project-yaml.md 6.9)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from jobrunner.demo.git_server import GitServer
from jobrunner.pipeline import Action
from jobrunner.pipeline.reusable import ReusableActionProblem
from jobrunner.study import CommitNotFound, CommitNotOnBranch, GitRules, IntakeError, Mirrors, Unreachable
from jobrunner.study.errors import TagNotFound
from jobrunner.study.reusable import address, explain, pin, read_source
from tests.fixtures.git_fixtures import StudyRepository, run_git, serve

pytestmark = pytest.mark.http

ACTION_YAML = "run: python:latest python main.py\n"


def action(name: str = "foo", version: str = "v1.0") -> Action:
    return Action(
        "model", name, version, ("--in", "x"), (), {"highly_sensitive": {"a": "a.csv"}}, None, False
    )


class Shelf:
    """The repository `foo` below an owner, with the tag v1.0 at its first commit."""

    def __init__(self, root: Path, host: GitServer) -> None:
        self.prefix = host.url("actions")
        self.foo = StudyRepository.create(root / "host", "actions/foo", {"action.yaml": ACTION_YAML})
        self.first = self.foo.head
        self.tag("v1.0")
        self.mirrors = Mirrors(root / "mirrors", GitRules((self.prefix,), allow_loopback_http=True))

    @property
    def url(self) -> str:
        return f"{self.prefix}/foo"

    def tag(self, name: str, *options: str, at: str = "HEAD") -> None:
        run_git(self.foo.work, "tag", "--force", *options, name, at)
        run_git(self.foo.work, "push", "--quiet", "--force", str(self.foo.bare), f"refs/tags/{name}")

    def pin(self, tag: str = "v1.0", url: str | None = None) -> str:
        return pin(self.mirrors, url or self.url, tag).commit

    def problem(self, used: Action) -> ReusableActionProblem:
        """What a person is told who uses this action."""
        url = address(used, self.prefix)
        commit = None
        try:
            pinned = pin(self.mirrors, url, used.image_version)
            commit = pinned.commit
            source = read_source(pinned, used.image_version)
        except IntakeError as error:
            return explain(used, url, error, commit)
        with pytest.raises(ReusableActionProblem) as caught:
            source.apply_to(used)
        return caught.value


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    (tmp_path / "host").mkdir()
    with serve(tmp_path / "host") as host:
        yield Shelf(tmp_path, host)


def test_a_tag_is_the_commit_that_it_names_now(shelf: Shelf) -> None:
    assert shelf.pin() == shelf.first
    second = shelf.foo.commit({"other": "1"})
    assert shelf.pin() == shelf.first
    shelf.tag("v1.0")
    assert shelf.pin() == second


def test_a_source_is_commit_tag_and_file(shelf: Shelf) -> None:
    source = read_source(pin(shelf.mirrors, shelf.url, "v1.0"), "v1.0")

    assert source.place == {"repo": shelf.url, "tag": "v1.0", "commit": shelf.first}
    applied = source.apply_to(action())
    assert (applied.image, applied.image_version) == ("python", "latest")
    assert applied.command() == ("python", "main.py", "--in", "x")


def test_an_annotated_tag_stands_for_the_commit_that_it_names(shelf: Shelf) -> None:
    shelf.tag("v2", "--annotate", "--message", "two")
    shelf.tag("v3", "--annotate", "--message", "a tag of a tag", at="v2")

    assert shelf.pin("v2") == shelf.first
    assert shelf.pin("v3") == shelf.first


def test_a_commit_that_was_resolved_before_is_not_resolved_again(shelf: Shelf) -> None:
    shelf.foo.commit({"other": "1"})
    shelf.tag("v1.0")

    assert pin(shelf.mirrors, shelf.url, "v1.0", shelf.first).commit == shelf.first


def test_a_tag_of_something_else_than_a_commit_is_none(shelf: Shelf) -> None:
    shelf.tag("v4", at="HEAD^{tree}")
    shelf.tag("v5", "--annotate", "--message", "a file", at="HEAD:action.yaml")
    for tag in ("v4", "v5"):
        with pytest.raises(TagNotFound):
            shelf.pin(tag)
        assert shelf.problem(action(version=tag)).id == "RA003"


def test_only_so_many_tags_in_a_row_are_followed(shelf: Shelf) -> None:
    last = "v1.0"
    for number in range(6):
        shelf.tag(f"v9.{number}", "--annotate", "--message", "deeper", at=last)
        last = f"v9.{number}"

    assert shelf.pin("v9.4") == shelf.first
    with pytest.raises(TagNotFound):
        shelf.pin("v9.5")


@pytest.mark.parametrize("tag", ["v1..2", "v1.", "-x", "", "a b", "v" + "1" * 200])
def test_what_can_be_no_tag_is_not_asked_for(tmp_path: Path, tag: str) -> None:
    rules = GitRules(("http://127.0.0.1:1/actions",), allow_loopback_http=True)
    with pytest.raises(TagNotFound):
        pin(Mirrors(tmp_path / "mirrors", rules), "http://127.0.0.1:1/actions/foo", tag)


def test_a_branch_of_that_name_is_no_tag(shelf: Shelf) -> None:
    for name in ("refs/heads/v8", "refs/heads/refs/tags/v8", "refs/tags/refs/tags/v8"):
        run_git(shelf.foo.bare, "update-ref", name, shelf.first)
    with pytest.raises(TagNotFound):
        shelf.pin("v8")


def test_a_repository_without_main(shelf: Shelf) -> None:
    run_git(shelf.foo.bare, "branch", "--move", "main", "trunk")
    with pytest.raises(CommitNotFound) as caught:
        shelf.pin()
    assert caught.value.detail == "branch"
    assert shelf.problem(action()).id == "RA004"


def test_a_commit_that_main_does_not_hold(shelf: Shelf) -> None:
    shelf.foo.switch("side")
    shelf.foo.commit({"evil": "1"})
    shelf.tag("v6")
    with pytest.raises(CommitNotOnBranch):
        shelf.pin("v6")
    problem = shelf.problem(action(version="v6"))
    assert problem.id == "RA004"
    assert problem.message == (
        "Action `model` uses `foo:v6`: tag `v6` is not approved (not on branch `main`). "
        "Use an approved one, or ask for approval."
    )


def test_RA002_no_such_repository(shelf: Shelf) -> None:
    problem = shelf.problem(action("bar"))
    assert problem.id == "RA002"
    assert f"nothing found at `{shelf.prefix}/bar`." in problem.message
    with pytest.raises(Unreachable):
        shelf.pin(url=f"{shelf.prefix}/bar")


def test_RA003_no_such_tag(shelf: Shelf) -> None:
    problem = shelf.problem(action(version="v9"))
    assert problem.id == "RA003"
    assert problem.message.endswith(f": `{shelf.url}` has no tag `v9`. See `{shelf.url}/tags`.")


def test_RA005_a_commit_whose_root_folder_is_refused(shelf: Shelf) -> None:
    tree = shelf.foo.tree([("160000", b"inner", "1" * 40)])
    commit = shelf.foo.commit_tree(tree)
    run_git(shelf.foo.bare, "tag", "v7", commit)
    problem = shelf.problem(action(version="v7"))
    assert problem.id == "RA005"
    assert f"commit `{commit}` of `{shelf.url}` could not be read." in problem.message


def test_RA006_no_action_file(shelf: Shelf) -> None:
    run_git(shelf.foo.work, "rm", "action.yaml")
    shelf.foo.commit({"README": "x"})
    shelf.tag("v2")
    assert shelf.problem(action(version="v2")).id == "RA006"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB + "run: python:v2 a.py\n", "1,000,000 values"),
        ("run: python:v2 a.py\n#" + "x" * 5_000_000, "bytes"),
        ("run: python:v2 a.py\n#" + "x" * 9_000_000, "bytes"),
        ("run: " + "[" * 10_000, "deeper than 64"),
        ("run: !!python/object/apply:os.system [id]\n", "not supported"),
    ],
)
def test_RA007_a_hostile_action_file(shelf: Shelf, content: str, told: str) -> None:
    shelf.foo.commit({"action.yaml": content})
    shelf.tag("v2")
    problem = shelf.problem(action(version="v2"))
    assert problem.id == "RA007"
    assert told in problem.message
    assert len(problem.message) < 1000


def test_RA007_an_action_file_that_is_a_link(shelf: Shelf) -> None:
    run_git(shelf.foo.work, "rm", "action.yaml")
    shelf.foo.commit({"real.yaml": ACTION_YAML}, links={"action.yaml": "real.yaml"})
    shelf.tag("v2")
    assert shelf.problem(action(version="v2")).id == "RA007"
