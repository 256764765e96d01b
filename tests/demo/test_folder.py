"""The demo's folder: nobody else's is touched, and addresses stay from run to run."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner.demo.folder import DemoProblem, keep, opened

pytestmark = pytest.mark.unit


def test_a_folder_that_is_not_a_demo_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoProblem, match="not a demo"), opened(tmp_path):
        pytest.fail("it was opened")
    assert (tmp_path / "study" / "thesis.txt").read_text() == "years of work"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    with pytest.raises(DemoProblem, match="not a folder"), opened(tmp_path / "demo"):
        pytest.fail("it was opened")


def test_names_and_ports_are_kept_once_it_is_ready(tmp_path: Path) -> None:
    with opened(tmp_path / "demo") as (folder, first):
        keep(folder, replace(first, image_ids={"python:v2": "sha256:1"}, ready=True))
    with opened(tmp_path / "demo") as (_, second):
        assert second == replace(first, image_ids={"python:v2": "sha256:1"}, ready=True)
    assert first.git_port != first.controller_port


def test_two_folders_never_share_a_backend(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (_, a), opened(tmp_path / "b") as (_, b):
        assert a.backend != b.backend


def test_what_an_interrupted_first_run_left_is_made_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "demo") as (folder, _):
        folder.site.mkdir()
        (folder.site / "agent.toml").write_text("half")
        (folder.root / "notes-of-mine.txt").write_text("keep")
    with opened(tmp_path / "demo") as (folder, _):
        assert not folder.site.exists()
        assert (folder.root / "notes-of-mine.txt").exists()


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "demo"), opened(tmp_path / "demo")
    with first, pytest.raises(DemoProblem, match="another demo runs"), second:
        pytest.fail("it was opened twice")
    with opened(tmp_path / "demo"):
        pass


def test_a_kept_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "demo") as (folder, kept):
        keep(folder, replace(kept, ready=True))
    taken = socket.create_server(("127.0.0.1", kept.git_port))
    with taken, pytest.raises(DemoProblem, match=f"port {kept.git_port}"), opened(tmp_path / "demo"):
        pytest.fail("it was opened")


@pytest.mark.parametrize("notes", ["", "[]", "{}", '{"made_by": "jobrunner demo"}', '{"made_by": 1, "x": 2}'])
def test_notes_that_cannot_be_read_are_told(tmp_path: Path, notes: str) -> None:
    (tmp_path / "demo.json").write_text(notes)
    with pytest.raises(DemoProblem, match="start anew"), opened(tmp_path):
        pytest.fail("it was opened")
