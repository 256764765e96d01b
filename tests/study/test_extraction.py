from __future__ import annotations

import os
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from jobrunner.study import GitRules, Limits, PipelineMissing, TreeRefused, Unreachable, extract
from jobrunner.study.references import MAX_BRANCH_BYTES
from jobrunner.study.rules import GIB, MIB
from tests.fixtures.git_fixtures import StudyRepository, local_pin

pytestmark = pytest.mark.unit

RULES = GitRules(("https://git.example",))


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return StudyRepository.create(tmp_path, "study", {"project.yaml": "x\n", "lib/a.py": "print(1)\n"})


def test_the_tree_is_written_with_its_modes(study: StudyRepository, tmp_path: Path) -> None:
    study.commit(
        {"run.sh": "#!/bin/sh\n", "lib/empty": ""}, executable=("run.sh",), links={"lib/link": "../run.sh"}
    )
    before = os.umask(0o077)
    try:
        folder = extract(local_pin(study), tmp_path / "trees", RULES)
    finally:
        os.umask(before)

    assert folder == tmp_path / "trees" / local_pin(study).tree
    modes = {str(path.relative_to(folder)): path.lstat().st_mode & 0o777 for path in folder.rglob("*")}
    assert modes.pop("lib/link") == 0o777
    assert modes == {
        "lib": 0o777,
        "project.yaml": 0o666,
        "lib/a.py": 0o666,
        "lib/empty": 0o666,
        "run.sh": 0o777,
    }
    assert folder.stat().st_mode & 0o777 == 0o777
    assert (tmp_path / "trees").stat().st_mode & 0o777 == 0o700
    assert (folder / "lib/a.py").read_bytes() == b"print(1)\n"
    assert (folder / "lib/link").readlink() == Path("../run.sh")
    assert [path.name for path in (tmp_path / "trees").iterdir()] == [folder.name]


def test_a_tree_is_made_once(study: StudyRepository, tmp_path: Path) -> None:
    first = extract(local_pin(study), tmp_path / "trees", RULES)
    inode = first.stat().st_ino
    study.commit({}, message="same tree, other commit")

    assert extract(local_pin(study), tmp_path / "trees", RULES) == first
    assert first.stat().st_ino == inode


def test_what_a_killed_process_left_is_not_taken_for_a_tree(study: StudyRepository, tmp_path: Path) -> None:
    pinned = local_pin(study)
    left = tmp_path / "trees" / f".{pinned.tree}.partial"
    left.mkdir(parents=True)
    (left / "project.yaml").write_text("half")
    (left / "evil").write_text("x")

    folder = extract(pinned, tmp_path / "trees", RULES)

    assert (folder / "project.yaml").read_text() == "x\n"
    assert not (folder / "evil").exists()


def test_many_at_once_make_one_tree(study: StudyRepository, tmp_path: Path) -> None:
    study.commit({f"f{number}": f"{number}" for number in range(200)})
    pinned, found = local_pin(study), []

    def work() -> None:
        found.append(extract(pinned, tmp_path / "trees", RULES))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert set(found) == {tmp_path / "trees" / pinned.tree}
    assert len(list(found[0].iterdir())) == 202


@pytest.mark.parametrize("limits", [Limits(blob_bytes=1000), Limits(tree_bytes=5000), Limits(entries=4)])
def test_a_tree_over_a_limit_leaves_nothing(study: StudyRepository, tmp_path: Path, limits: Limits) -> None:
    study.commit({"a": b"a" * 2000, "b": b"b" * 2000, "c": b"c" * 2000})
    trees = tmp_path / "trees"
    rules = GitRules(("https://git.example",), limits=limits)
    with pytest.raises(TreeRefused) as refused:
        extract(local_pin(study), trees, rules)

    assert refused.value.detail == "too_large"
    assert [path for path in trees.iterdir() if not path.name.endswith(".lock")] == []
    assert extract(local_pin(study), trees, RULES).is_dir()


def test_a_time_limit_ends_the_reading(study: StudyRepository, tmp_path: Path) -> None:
    rules = GitRules(("https://git.example",), limits=Limits(tree_seconds=0))
    with pytest.raises(TreeRefused) as refused:
        extract(local_pin(study), tmp_path / "trees", rules)

    assert refused.value.detail == "timeout"


def test_a_file_is_read_at_the_commit(study: StudyRepository) -> None:
    first = local_pin(study)
    study.commit({"project.yaml": "y\n"})

    assert first.read_file("project.yaml", 100) == b"x\n"
    assert first.read_file("lib/a.py", 100) == b"print(1)\n"
    assert local_pin(study).read_file("project.yaml", 2) == b"y\n"


def test_a_file_that_cannot_be_read_says_why(study: StudyRepository) -> None:
    study.commit({}, links={"link": "project.yaml"})
    pinned = local_pin(study)
    for path in ("none", "lib", "project.yaml/x", "lib/none", "", "/", "../x", "lib/../project.yaml"):
        with pytest.raises(FileNotFoundError):
            pinned.read_file(path, 100)
    with pytest.raises(TreeRefused, match="symbolic link"):
        pinned.read_file("link", 100)
    with pytest.raises(TreeRefused) as refused:
        pinned.read_file("project.yaml", 1)
    assert refused.value.detail == "too_large"


def test_a_commit_without_a_pipeline_is_invalid(tmp_path: Path) -> None:
    study = StudyRepository.create(tmp_path, "bare", {"sub/project.yaml": "x"})
    with pytest.raises(PipelineMissing) as missing:
        local_pin(study).read_file("project.yaml", 100)

    assert (missing.value.reason, missing.value.detail) == ("pipeline_invalid", "missing")
    folder = StudyRepository.create(tmp_path, "folder", {"project.yaml/x": "x"})
    with pytest.raises(PipelineMissing):
        local_pin(folder).read_file("project.yaml", 100)


def test_an_object_that_is_gone_marks_the_mirror(study: StudyRepository, tmp_path: Path) -> None:
    pinned = local_pin(study)
    blob = study.blob(b"print(1)\n")
    (study.bare / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Unreachable):
        extract(pinned, tmp_path / "trees", RULES)

    assert (study.bare / "broken").exists()
    assert not (tmp_path / "trees" / pinned.tree).exists()


def test_a_link_has_a_longest_target(study: StudyRepository, tmp_path: Path) -> None:
    study.commit({"d/a": "x"}, links={"link": "./" * 120 + "d/a"})
    pinned = local_pin(study)
    assert (extract(pinned, tmp_path / "trees", RULES) / "link").read_text() == "x"
    rules = GitRules(("https://git.example",), limits=Limits(link_bytes=242))
    with pytest.raises(TreeRefused, match="longer than 242 bytes") as refused:
        extract(pinned, tmp_path / "others", rules)
    assert refused.value.detail == "symlink"


def test_the_caps_are_those_of_the_specification() -> None:
    assert asdict(Limits()) == {
        "pack_bytes": 2 * GIB, "fetch_seconds": 600, "stall_seconds": 30, "stall_bytes": 1000,
        "memory_bytes": 4 * GIB, "mirror_bytes": 4 * GIB, "mirror_packs": 100, "tree_seconds": 600,
        "entries": 50_000, "depth": 32, "blob_bytes": 512 * MIB, "tree_bytes": 2 * GIB, "link_bytes": 255,
        "part_bytes": 200, "path_bytes": 512,
    }  # fmt: skip
    assert MAX_BRANCH_BYTES == 200
