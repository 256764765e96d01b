from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobrunner.study import (
    CommitNotFound,
    CommitNotOnBranch,
    Limits,
    Mirrors,
    RepositoryNotAllowed,
    TreeRefused,
    Unreachable,
    extract,
)
from jobrunner.study.deadline import Deadline
from jobrunner.study.locks import locked
from tests.fixtures.git_fixtures import run_git
from tests.study.evil_hosts import hanging
from tests.study.sites import PROJECT, Site, open_site

pytestmark = pytest.mark.http


def test_a_commit_becomes_a_tree(site: Site) -> None:
    pinned = site.pin()

    assert (pinned.url, pinned.branch, pinned.commit) == (site.url, "main", site.study.head)
    assert pinned.read_file("project.yaml", 1000).decode() == PROJECT
    folder = extract(pinned, site.root / "trees", site.rules())
    assert (folder / "analysis/a.py").read_text() == "print(1)\n"


def test_an_older_commit_of_the_branch_is_fine(site: Site) -> None:
    old = site.study.head
    for number in range(3):
        site.study.commit({"project.yaml": f"{number}"})

    assert site.pin(commit=old).read_file("project.yaml", 1000).decode() == PROJECT
    assert site.pin().read_file("project.yaml", 1000) == b"2"


def test_each_branch_is_looked_up_by_itself(site: Site) -> None:
    main = site.study.head
    site.study.switch("feature/x")
    feature = site.study.commit({"new": "1"})

    assert site.pin("feature/x", feature).commit == feature
    assert site.pin("feature/x", main).commit == main
    with pytest.raises(CommitNotOnBranch) as refused:
        site.pin("main", feature)
    assert (refused.value.reason, refused.value.detail) == ("commit_not_on_branch", "")


def test_a_branch_may_take_the_place_of_a_folder_of_branches(site: Site) -> None:
    site.study.switch("topic")
    site.study.commit({"n": "1"})
    site.pin("topic")
    site.study.bare.joinpath("refs/heads/topic").unlink()
    site.study.switch("topic2")
    site.study.push()
    site.study.bare.joinpath("refs/heads/topic2").unlink()
    site.study.bare.joinpath("refs/heads/topic").mkdir()
    site.study.bare.joinpath("refs/heads/topic/sub").write_text(site.study.head + "\n")

    assert site.pin("topic/sub").commit == site.study.head


def test_the_mirror_outlives_the_object(site: Site) -> None:
    first = site.pin()
    packs, inode = sorted(first.mirror.glob("objects/pack/*.pack")), first.mirror.stat().st_ino
    second = Mirrors(site.root / "mirrors", site.rules()).pin(site.url, "main", site.study.head)

    assert second == first
    assert sorted(second.mirror.glob("objects/pack/*.pack")) == packs
    assert len(packs) == 1
    assert second.mirror.stat().st_ino == inode


def test_a_wrong_commit_does_not_cost_the_mirror(site: Site) -> None:
    with pytest.raises(CommitNotFound):
        site.pin(commit="1" * 40)

    mirrors = [path for path in (site.root / "mirrors").iterdir() if path.is_dir()]
    assert len(mirrors) == 1
    assert list(mirrors[0].glob("objects/pack/*.pack"))


def test_a_tree_or_blob_is_no_commit(site: Site) -> None:
    tree = site.pin().tree
    with pytest.raises(CommitNotFound):
        site.pin(commit=tree)


def test_a_worn_mirror_is_made_again(site: Site) -> None:
    mirrors = site.mirrors(Limits(mirror_packs=2))
    for number in range(4):
        site.study.commit({"n": f"{number}"})
        mirror = mirrors.pin(site.url, "main", site.study.head).mirror

    assert len(list(mirror.glob("objects/pack/*.pack"))) <= 3


def test_a_mirror_that_grew_too_large_is_made_again(site: Site) -> None:
    small, large = site.mirrors(), site.mirrors(Limits(mirror_bytes=1))
    config = small.pin(site.url, "main", site.study.head).mirror / "config"
    first = config.stat().st_ino
    small.pin(site.url, "main", site.study.head)
    assert config.stat().st_ino == first
    assert large.pin(site.url, "main", site.study.head).commit == site.study.head
    assert config.stat().st_ino != first


def test_many_at_once_share_a_mirror(site: Site) -> None:
    mirrors, found, commit = site.mirrors(), [], site.study.head

    def work() -> None:
        found.append(mirrors.pin(site.url, "main", commit))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 5
    assert len(set(found)) == 1


def test_what_policy_does_not_name_is_refused(site: Site) -> None:
    with pytest.raises(RepositoryNotAllowed):
        site.mirrors().pin("https://github.com/o/study", "main", site.study.head)


def test_a_caller_in_a_hurry_gets_a_retry_and_not_a_refusal(tmp_path: Path) -> None:
    with open_site(tmp_path, hanging(1.5)) as site:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            site.mirrors().pin(site.url, "main", site.study.head, deadline_s=0.3)

        assert time.monotonic() - started < 1


def test_only_the_branch_is_fetched(site: Site) -> None:
    run_git(
        site.study.work, "push", "--quiet", str(site.study.bare), "HEAD:refs/tags/v1", "HEAD:refs/heads/other"
    )
    mirror = site.pin().mirror

    refs = [path for path in (mirror / "refs").rglob("*") if path.is_file()]
    assert [path.parent.name for path in refs] == ["jobrunner"]


def test_a_harmless_old_fault_passes_where_policy_lists_it(site: Site) -> None:
    blob = site.study.blob(b"x")
    odd = (
        b"tree %s\nauthor A <a@b> 1 +051800\ncommitter A <a@b> 1 +051800\n\nodd\n"
        % site.study.tree([("100644", b"project.yaml", blob)]).encode()
    )
    commit = run_git(
        site.study.bare, "hash-object", "-w", "-t", "commit", "--literally", "--stdin", stdin=odd
    )
    run_git(site.study.bare, "update-ref", "refs/heads/odd", commit)
    rules = site.rules(tolerated_faults=frozenset({"badTimezone"}))

    with pytest.raises(TreeRefused, match="badTimezone"):
        site.pin("odd", commit)
    assert Mirrors(site.root / "mirrors", rules).pin(site.url, "odd", commit).commit == commit


def test_what_a_killed_process_left_is_no_hindrance(site: Site) -> None:
    mirror = site.pin().mirror
    for name in (f"{mirror.name}.new", f"{mirror.name}.old"):
        (mirror.parent / name / "objects/pack").mkdir(parents=True)
        (mirror.parent / name / "refs").mkdir()
        (mirror.parent / name / "config").write_text("half")
    (mirror / "broken").touch()

    assert site.pin().commit == site.study.head
    assert {path.name for path in mirror.parent.iterdir()} == {mirror.name, f"{mirror.name}.lock"}


@pytest.mark.slow
def test_git_keeps_the_lock_when_we_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from jobrunner.study import GitRules, Mirrors\n"
        "base, root, url = sys.argv[1:]\n"
        "rules = GitRules((base,), allow_loopback_http=True)\n"
        "Mirrors(pathlib.Path(root), rules).pin(url, 'main', 'a' * 40)\n"
    )
    asked: list[str] = []
    with open_site(tmp_path, hanging(2, asked)) as site:
        arguments = [site.host.base_url, str(tmp_path / "mirrors"), site.url]
        with subprocess.Popen([sys.executable, "-c", program, *arguments]) as agent:
            while not asked:
                time.sleep(0.02)
            agent.kill()
        lock = next((tmp_path / "mirrors").glob("*.lock"))

        with pytest.raises(Unreachable), locked(lock, Deadline.after(0, None)):
            pass
        with locked(lock, Deadline.after(10, None)):
            pass


def test_nothing_but_the_mirror_and_its_lock_is_left(site: Site) -> None:
    mirror = site.pin().mirror

    assert {path.name for path in mirror.parent.iterdir()} == {mirror.name, f"{mirror.name}.lock"}
    assert mirror.parent.stat().st_mode & 0o077 == 0
