"""Into the folder of an action, and back into the work tree."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jobrunner.local.filling import FileChanged, fill
from jobrunner.local.hashing import hash_study
from jobrunner.local.landing import land, remove_stale
from jobrunner.local.study_files import study_files
from jobrunner.pipeline import PatternSet
from jobrunner.privacy.outputs import CollectedFile, OutputsRefused
from tests.local.studies import commit, write

pytestmark = pytest.mark.unit

OUTPUTS = PatternSet(["output/*.csv"])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "study"
    write(made, {"analysis/a.py": "script", "b.sh": "program", "output/rows.csv": "rows"})
    write(made, {".gitignore": "output/\n"})
    (made / "b.sh").chmod(0o700)
    (made / "short").symlink_to("analysis")
    commit(made)
    return made


def test_the_study_and_its_inputs_lie_there_as_the_agent_would_lay_them(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w" / "workspace"
    study = study_files(root, OUTPUTS)
    filled = fill(folder, study, root, {"output/rows.csv": digest("rows")}, ["output", "new/deep"], None)
    modes = {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }
    assert modes == {
        "analysis": 0o777, "analysis/a.py": 0o666, "b.sh": 0o777, ".gitignore": 0o666,
        "output": 0o777, "output/rows.csv": 0o444, "new": 0o777, "new/deep": 0o777,
    }  # fmt: skip
    assert (folder / "short").readlink() == Path("analysis")
    assert filled.hashes["analysis/a.py"] == digest("script")
    assert filled.hashes == hash_study(study, filled.hashes), "so that what ran is what is compared later"
    assert filled.hashes["b.sh"] != digest("program")
    assert "output/rows.csv" not in filled.hashes
    assert set(filled.untouched) == {"analysis/a.py", "b.sh", ".gitignore", "output/rows.csv"}


def test_an_input_that_is_not_what_its_action_wrote_is_refused(root: Path, tmp_path: Path) -> None:
    study = study_files(root, OUTPUTS)
    with pytest.raises(FileChanged, match=r"output/rows\.csv is not what its action wrote"):
        fill(tmp_path / "one", study, root, {"output/rows.csv": digest("other")}, [], None)
    with pytest.raises(FileChanged, match="cannot be read any more"):
        fill(tmp_path / "two", study, root, {"output/gone.csv": digest("x")}, [], None)


def test_a_file_that_became_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    study = study_files(root, OUTPUTS)
    (root / "analysis" / "a.py").unlink()
    (root / "analysis" / "a.py").symlink_to("/etc/passwd")
    with pytest.raises(FileChanged):
        fill(tmp_path / "one", study, root, {}, [], None)
    (root / "analysis" / "a.py").unlink()
    (root / "analysis").rmdir()
    (root / "analysis").symlink_to("/etc")
    with pytest.raises(FileChanged):
        fill(tmp_path / "two", study, root, {}, [], None)


def test_output_folders_hide_what_the_study_has_in_their_place(root: Path, tmp_path: Path) -> None:
    write(root, {"out": "a file of the study"})
    (root / "linked").symlink_to("analysis")
    commit(root)
    folder = tmp_path / "w"
    fill(folder, study_files(root, OUTPUTS), root, {}, ["out/deep", "linked"], None)
    assert (folder / "out" / "deep").is_dir()
    assert (folder / "linked").is_dir()
    assert not (folder / "linked").is_symlink()


Collected = Callable[..., CollectedFile]


@pytest.fixture
def collected(tmp_path: Path) -> Collected:
    def make(path: str, text: str = "new") -> CollectedFile:
        stored = tmp_path / "collected" / path
        write(tmp_path / "collected", {path: text})
        stored.chmod(0o444)
        return CollectedFile(path, "highly_sensitive", digest(text), len(text), stored, 0, 0, 0)

    return make


def test_outputs_land_and_replace_what_was_there(root: Path, collected: Collected) -> None:
    land(root, [collected("output/rows.csv"), collected("more/deep/x.txt")])
    assert (root / "output" / "rows.csv").read_text() == "new"
    assert (root / "more" / "deep" / "x.txt").read_text() == "new"
    assert os.access(root / "output" / "rows.csv", os.W_OK)


@pytest.mark.parametrize("path", ["short/x.txt", "b.sh/x.txt", "analysis", "link.txt", "up/x.txt"])
def test_nothing_lands_when_one_place_is_not_ours(
    root: Path, collected: Collected, tmp_path: Path, path: str
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    (root / "link.txt").symlink_to(precious)
    (root / "up").symlink_to("..")
    with pytest.raises(OutputsRefused) as refused:
        land(root, [collected("output/rows.csv"), collected(path)])
    assert [where for where, _why in refused.value.refused] == [path]
    assert (root / "output" / "rows.csv").read_text() == "rows"
    assert precious.read_text() == "precious"
    assert sorted(entry.name for entry in (root / "analysis").iterdir()) == ["a.py"]
    assert not (tmp_path / "x.txt").exists()


THEIRS = [
    ".git/config.worktree",
    ".git/index.lock",
    "deep/.GIT/hooks/x",
    "git~1/x",
    ".\uff47it/x",
    ".jobrunner/actions/first.json",
    ".JobRunner/x",
    ".jobrunner",
]


@pytest.mark.parametrize("path", THEIRS)
def test_nothing_lands_among_the_files_of_git_or_our_records(
    root: Path, collected: Collected, path: str
) -> None:
    with pytest.raises(OutputsRefused) as refused:
        land(root, [collected("output/rows.csv"), collected(path)])
    assert [where for where, _why in refused.value.refused] == [path]
    assert (root / "output" / "rows.csv").read_text() == "rows"
    assert not (root / path).exists()


def test_twin_names_that_only_begin_so_land(root: Path, collected: Collected) -> None:
    land(root, [collected(path) for path in (".github/x", "deep/.jobrunner/x", ".jobrunner-old/x")])
    assert (root / ".github" / "x").read_text() == "new"


def test_a_record_of_a_hostile_clone_removes_nothing_of_git(root: Path) -> None:
    write(root, {".git/mine": "mine", ".jobrunner/x": "mine"})
    before = {".git/mine": digest("mine"), ".jobrunner/x": digest("mine")}
    assert remove_stale(root, before, [], list(before), ()) == []
    assert all((root / path).exists() for path in before)


def test_old_outputs_go_unless_somebody_else_cares_for_them(root: Path, tmp_path: Path) -> None:
    write(root, {"output/old.csv": "old", "output/edited.csv": "mine", "output/kept.csv": "kept"})
    (root / "output" / "away.csv").symlink_to(tmp_path)
    before = {path: digest("old") for path in ("output/old.csv", "output/edited.csv", "output/away.csv")}
    before |= {
        "output/kept.csv": digest("kept"),
        "analysis/a.py": digest("script"),
        "b.sh": digest("program"),
    }
    kept = remove_stale(
        root, before, ["output/kept.csv"], ["output/*.csv", "b.sh"], study_files(root, OUTPUTS).kinds
    )
    assert sorted(kept) == ["output/away.csv", "output/edited.csv"]
    assert not (root / "output" / "old.csv").exists()
    assert all((root / path).exists() for path in ("output/kept.csv", "analysis/a.py", "b.sh"))
