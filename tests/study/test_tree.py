from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobrunner.study import Limits, TreeRefused
from jobrunner.study.deadline import Deadline
from jobrunner.study.objects import ObjectReader
from jobrunner.study.tree import Entry, EntryKind, walk
from tests.fixtures.git_fixtures import StudyRepository, run_git

pytestmark = pytest.mark.unit


def listing(study: StudyRepository, tree: str, limits: Limits | None = None) -> list[Entry]:
    limits = limits or Limits()
    with ObjectReader(study.bare, limits, Deadline.after(20, None)) as reader:
        return walk(reader, tree, limits)


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return StudyRepository.create(tmp_path, "study", {"project.yaml": "x"})


def test_the_list_is_that_of_git(study: StudyRepository) -> None:
    files = {f"folder{number % 7}/sub/f{number}.txt": f"{number}" for number in range(150)}
    study.commit({**files, "run.sh": "#!/bin/sh\n"}, executable=("run.sh",), links={"link": "run.sh"})
    modes = {
        "100644": EntryKind.FILE,
        "100755": EntryKind.PROGRAM,
        "120000": EntryKind.LINK,
        "040000": EntryKind.FOLDER,
    }
    expected = set()
    for line in run_git(study.bare, "ls-tree", "-r", "-t", "--full-tree", study.head).splitlines():
        mode, _, rest = line.split(" ", 2)
        object_id, path = rest.split("\t")
        expected.add(Entry(path, modes[mode], object_id))

    found = listing(study, run_git(study.bare, "rev-parse", f"{study.head}^{{tree}}"))

    assert set(found) == expected
    assert len(found) == len(expected)


def test_a_tree_that_unfolds_without_end_stops_at_the_cap(study: StudyRepository) -> None:
    tree = study.tree([("100644", b"f", study.blob(b"x"))])
    for _ in range(12):
        tree = study.tree([("40000", b"d%d" % number, tree) for number in range(10)])
    started = time.monotonic()
    with pytest.raises(TreeRefused) as refused:
        listing(study, tree, Limits(entries=2000))

    assert refused.value.detail == "too_large"
    assert time.monotonic() - started < 5


def test_depth_and_length_of_paths_are_capped(study: StudyRepository) -> None:
    leaf = study.tree([("100644", b"f", study.blob(b"x"))])

    def nested(levels: int, name: bytes) -> str:
        tree = leaf
        for _ in range(levels):
            tree = study.tree([("40000", name, tree)])
        return tree

    assert len(listing(study, nested(31, b"d"))) == 32
    with pytest.raises(TreeRefused, match="deeper"):
        listing(study, nested(32, b"d"))
    with pytest.raises(TreeRefused, match="longer"):
        listing(study, nested(3, b"d" * 190))


@pytest.mark.parametrize("mode", ["100664", "100600", "040000", "0", "160000", "140000", "20000"])
def test_other_modes_are_refused(study: StudyRepository, mode: str) -> None:
    tree = study.tree([(mode, b"f", study.blob(b"x"))])
    with pytest.raises(TreeRefused) as refused:
        listing(study, tree)

    assert refused.value.detail == ("gitlink" if mode == "160000" else "name")


def test_a_malformed_tree_is_refused(study: StudyRepository) -> None:
    whole = b"100644 f\0" + b"\1" * 20
    for raw in (whole[:-1], b"100644", b"100644 f", whole + b"1"):
        tree = run_git(study.bare, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=raw)
        with pytest.raises(TreeRefused, match="malformed"):
            listing(study, tree)
