"""Reusable actions on a laptop: one fetch, then the cache, unless asked for afresh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner.demo.git_server import GitServer
from jobrunner.pipeline import Action
from jobrunner.pipeline.reusable import ReusableActionProblem
from jobrunner.study.reusable_cache import ReusableCache
from tests.fixtures.git_fixtures import StudyRepository, run_git, serve

pytestmark = pytest.mark.http

FILES = {"action.yaml": "run: python:latest python main.py\n", "main.py": "print(1)\n"}


def action(version: str = "v1", name: str = "foo") -> Action:
    return Action(
        "model", name, version, ("--in", "x"), (), {"highly_sensitive": {"a": "a.csv"}}, None, False
    )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "host").mkdir()
    with serve(tmp_path / "host") as served:
        yield served


@pytest.fixture
def foo(tmp_path: Path, host: GitServer) -> StudyRepository:
    foo = StudyRepository.create(tmp_path / "host", "actions/foo", FILES)
    tag(foo, "v1")
    return foo


@pytest.fixture
def cache(tmp_path: Path, host: GitServer) -> ReusableCache:
    return ReusableCache(tmp_path / "cache", host.url("actions"), allow_loopback_http=True)


def tag(foo: StudyRepository, name: str) -> None:
    run_git(foo.work, "tag", "--force", name)
    run_git(foo.work, "push", "--quiet", "--force", str(foo.bare), f"refs/tags/{name}")


def test_image_words_and_code(cache: ReusableCache, foo: StudyRepository, host: GitServer) -> None:
    code = cache.code(action())

    assert (code.action.image, code.action.image_version) == ("python", "latest")
    assert code.action.command() == ("python", "main.py", "--in", "x")
    assert (code.folder / "main.py").read_text() == "print(1)\n"
    assert (code.repo, code.commit) == (host.url("actions/foo"), foo.head)


def test_a_version_is_asked_for_once_and_then_needs_no_network(
    cache: ReusableCache, foo: StudyRepository, host: GitServer
) -> None:
    first = cache.code(action())
    foo.commit({"main.py": "print(2)\n"})
    tag(foo, "v1")
    assert cache.code(action()) == first
    host.stop()
    assert cache.code(action()) == first
    with pytest.raises(ReusableActionProblem) as caught:
        cache.code(action(), fresh=True)
    assert caught.value.id == "RA002"


def test_fresh_looks_the_tag_up_again(cache: ReusableCache, foo: StudyRepository) -> None:
    first = cache.code(action())
    second = foo.commit({"main.py": "print(2)\n"})
    tag(foo, "v1")
    code = cache.code(action(), fresh=True)
    assert code.commit == second != first.commit
    assert (code.folder / "main.py").read_text() == "print(2)\n"
    assert (first.folder / "main.py").read_text() == "print(1)\n"
    assert cache.code(action()) == code


@pytest.mark.parametrize("version", ["latest", "dev"])
def test_a_version_that_moves_is_looked_up_each_time(
    cache: ReusableCache, foo: StudyRepository, version: str
) -> None:
    tag(foo, version)
    cache.code(action(version))
    second = foo.commit({"main.py": "print(2)\n"})
    tag(foo, version)
    assert cache.code(action(version)).commit == second


def test_a_broken_cache_is_filled_again(cache: ReusableCache, foo: StudyRepository, tmp_path: Path) -> None:
    first = cache.code(action())
    (note,) = (tmp_path / "cache/tags").iterdir()
    for broken in (b"", b"[1]", b'{"commit": "../..", "tree": "../.."}', b'{"commit": 1, "tree": 2}'):
        note.write_bytes(broken)
        assert cache.code(action()) == first
    (first.folder / "action.yaml").unlink()
    first.folder.rename(tmp_path / "gone")
    assert cache.code(action()) == first


def test_the_cache_is_nobody_elses(cache: ReusableCache, foo: StudyRepository, tmp_path: Path) -> None:
    cache.code(action())
    for folder in ("cache", "cache/trees", "cache/mirrors", "cache/tags"):
        assert (tmp_path / folder).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("used", "rule"),
    [(action(name="fo+o"), "RA001"), (action(name="bar"), "RA002"), (action("v9"), "RA003")],
)
def test_refusals(cache: ReusableCache, foo: StudyRepository, used: Action, rule: str) -> None:
    with pytest.raises(ReusableActionProblem) as caught:
        cache.code(used)
    assert caught.value.id == rule


def test_a_tree_that_leads_out_is_refused_and_nothing_kept(
    cache: ReusableCache, foo: StudyRepository, tmp_path: Path
) -> None:
    commit = foo.commit({}, links={"out": "/etc/passwd"})
    tag(foo, "v2")
    with pytest.raises(ReusableActionProblem) as caught:
        cache.code(action("v2"))
    assert caught.value.id == "RA005"
    assert commit in caught.value.message
    assert not (tmp_path / "cache/tags").exists()


def test_a_repository_without_an_action_file_is_not_kept(
    cache: ReusableCache, foo: StudyRepository, tmp_path: Path
) -> None:
    run_git(foo.work, "rm", "--quiet", "action.yaml")
    foo.commit({})
    tag(foo, "v2")
    for _ in range(2):
        with pytest.raises(ReusableActionProblem) as caught:
            cache.code(action("v2"))
        assert caught.value.id == "RA006"
    assert not (tmp_path / "cache/tags").exists()
