"""Which files of a work tree are the study's, with real git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobrunner.local.problems import LocalProblem
from jobrunner.local.study_files import study_files
from jobrunner.pipeline import PatternSet
from jobrunner.study.tree import EntryKind
from tests.local.studies import GIT, commit, write

pytestmark = pytest.mark.unit

OUTPUTS = PatternSet(["output/*.csv", "results.txt"])


def paths(root: Path) -> set[str]:
    return set(study_files(root, OUTPUTS).kinds)


def test_tracked_and_unignored_files_as_they_lie(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "gone.py": "1", ".gitignore": "ignored.csv\n", "b.sh": "1"})
    (tmp_path / "b.sh").chmod(0o755)
    commit(tmp_path)
    (tmp_path / "gone.py").unlink()
    write(
        tmp_path,
        {"new.py": "1", "ignored.csv": "1", "output/t.csv": "1", "output/note.md": "1", "results.txt": "1"}
        | {".jobrunner/actions/x.json": "1", "metadata/x.log": "1"},
    )
    found = study_files(tmp_path, OUTPUTS)
    assert set(found.kinds) == {"a.py", "b.sh", ".gitignore", "new.py", "output/note.md"}
    assert found.kinds["b.sh"] is EntryKind.PROGRAM
    assert found.warnings == ()


def test_tracked_outputs_and_metadata_are_part_of_the_commit_and_so_of_the_study(tmp_path: Path) -> None:
    write(tmp_path, {"output/t.csv": "1", "metadata/x": "1"})
    commit(tmp_path)
    assert paths(tmp_path) == {"output/t.csv", "metadata/x"}


def test_without_git_all_but_outputs(tmp_path: Path) -> None:
    write(
        tmp_path, {"a.py": "1", "deep/b.py": "1", "output/t.csv": "1", ".jobrunner/x": "1", "metadata/x": "1"}
    )
    found = study_files(tmp_path, OUTPUTS)
    assert set(found.kinds) == {"a.py", "deep/b.py"}
    assert "not in git" in found.warnings[0]


def test_a_study_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    write(tmp_path, {"other/x.py": "1", "study/a.py": "1"})
    commit(tmp_path)
    assert paths(tmp_path / "study") == {"a.py"}


def test_the_environment_of_a_hook_does_not_lead_to_another_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "study", {"a.py": "1"})
    commit(tmp_path / "study")
    write(tmp_path / "other", {"b.py": "1"})
    commit(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert paths(tmp_path / "study") == {"a.py"}


def test_a_broken_repository_is_no_folder_without_git(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1"})
    commit(tmp_path)
    (tmp_path / ".git" / "config").write_text("[core\n")
    with pytest.raises(LocalProblem, match="git does not list"):
        study_files(tmp_path, OUTPUTS)


def test_a_program_that_the_settings_of_the_repository_name_is_not_started(tmp_path: Path) -> None:
    marker, monitor = tmp_path / "it-ran", tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {marker}\n")
    monitor.chmod(0o755)
    root = tmp_path / "study"
    write(root, {"a.py": "1"})
    commit(root)
    subprocess.run([*GIT, "-C", str(root), "config", "core.fsmonitor", str(monitor)], check=True)
    assert paths(root) == {"a.py"}
    assert not marker.exists()
    subprocess.run([*GIT, "-C", str(root), "ls-files", "--others"], check=True)
    assert marker.exists(), "twin: git itself would have started it"


def test_links_inside_stay_and_links_outside_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"data/a.csv": "1"})
    (tmp_path / "short").symlink_to("data")
    commit(tmp_path)
    assert study_files(tmp_path, OUTPUTS).kinds["short"] is EntryKind.LINK
    (tmp_path / "mine").symlink_to("/etc")
    found = study_files(tmp_path, OUTPUTS)
    assert "mine" not in found.kinds
    assert found.warnings == ("Left out: The link 'mine' is refused: its target is absolute.",)
    commit(tmp_path)
    with pytest.raises(LocalProblem, match="its target is absolute") as problem:
        study_files(tmp_path, OUTPUTS)
    assert problem.value.word == "tree_refused"


def test_names_that_the_agent_refuses(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1"})
    commit(tmp_path)
    (tmp_path / "aux.csv").write_text("1")
    found = study_files(tmp_path, OUTPUTS)
    assert set(found.kinds) == {"a.py"}
    assert "some systems take it for a device" in found.warnings[0]
    commit(tmp_path)
    with pytest.raises(LocalProblem, match="some systems take it for a device"):
        study_files(tmp_path, OUTPUTS)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "A.py": "1"})
    commit(tmp_path)
    with pytest.raises(LocalProblem, match=r"keep 'A\.py' and 'a\.py' apart"):
        study_files(tmp_path, OUTPUTS)


def test_another_repository_inside(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "inner/b.py": "1"})
    commit(tmp_path / "inner")
    subprocess.run([*GIT, "-C", str(tmp_path), "init", "-q"], check=True)
    found = study_files(tmp_path, OUTPUTS)
    assert set(found.kinds) == {"a.py"}
    assert "another git repository" in found.warnings[0]
    subprocess.run([*GIT, "-C", str(tmp_path), "add", "-A"], check=True, capture_output=True)
    with pytest.raises(LocalProblem, match="another git repository"):
        study_files(tmp_path, OUTPUTS)


def test_another_repository_whose_folder_is_gone(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "inner/b.py": "1"})
    commit(tmp_path / "inner")
    subprocess.run([*GIT, "-C", str(tmp_path), "init", "-q"], check=True)
    subprocess.run([*GIT, "-C", str(tmp_path), "add", "-A"], check=True, capture_output=True)
    shutil.rmtree(tmp_path / "inner")
    with pytest.raises(LocalProblem, match="'inner' is another git repository"):
        study_files(tmp_path, OUTPUTS)


def test_a_tracked_file_that_became_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"a": "1"})
    commit(tmp_path)
    (tmp_path / "a").unlink()
    write(tmp_path, {"a/b.py": "1"})
    with pytest.raises(LocalProblem, match="'a' is a file in git and a folder here"):
        study_files(tmp_path, OUTPUTS)


def test_a_pipe_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1"})
    os.mkfifo(tmp_path / "pipe")
    assert paths(tmp_path) == {"a.py"}
