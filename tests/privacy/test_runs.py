import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobrunner.privacy import records
from jobrunner.privacy.disclosure.findings import FileReport
from jobrunner.privacy.outputs import CollectedFile
from jobrunner.privacy.records import RecordBroken, RunInput
from jobrunner.privacy.runs import (
    InputChanged,
    RunFinished,
    RunFolder,
    read_run,
    stage_inputs,
)
from jobrunner.privacy.verdicts import output_verdict
from tests.privacy.making import HIGH, MODERATE, Site, facts, job_id

pytestmark = pytest.mark.unit
TABLE = "group,n\na,10\nb,25\n"


def test_a_run_is_read_back_as_it_was_written(site: Site) -> None:
    pinned = RunInput("in.csv", "f" * 64, "extract", job_id("b"), 2)
    record = site.run({"out/t.csv": TABLE, "p.bin": b"\x00"}, levels={"p.bin": HIGH}, inputs=(pinned,))
    assert read_run(site.high, job_id(), 1) == record
    assert record.facts.inputs == (pinned,)
    highly, table = sorted(record.outputs, key=lambda output: output.level)
    assert (table.row_count, table.col_count, table.excluded, table.message) == (2, 2, False, None)
    assert (highly.row_count, highly.excluded) == (None, False)


def test_metadata_has_the_fields_of_the_design(site: Site) -> None:
    record = site.run({"t.csv": TABLE})
    data = json.loads((record.folder / "metadata.json").read_bytes())
    assert set(data) == {"schema", "job_id", "attempt", "log", "outputs", *asdict(facts())}
    assert set(data["outputs"][0]) == {
        *("path", "level", "sha256", "size", "device", "inode", "mtime_ns"),
        *("row_count", "col_count", "excluded", "message"),
    }
    findings = json.loads((record.folder / "findings.json").read_bytes())
    assert findings["schema"] == "jobrunner.disclosure.report/1"
    assert findings["complete"] is True


def test_a_finished_run_is_immutable(site: Site) -> None:
    record = site.run({"t.csv": TABLE})
    for name in ("metadata.json", "findings.json", "log", "files/t.csv"):
        assert stat.S_IMODE((record.folder / name).stat().st_mode) == 0o444
    with pytest.raises(RunFinished):
        RunFolder.create(site.high, job_id(), 1)
    with pytest.raises(RunFinished):
        RunFolder.reopen(site.high, job_id(), 1)


@pytest.mark.parametrize("early", ["not at all", "these", "others"])
def test_when_a_run_is_recorded_all_of_it_is_on_the_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch, early: str
) -> None:
    synced: dict[int, tuple[int, int]] = {}
    before: dict[int, tuple[int, int]] = {}
    fsync, rename = os.fsync, Path.rename

    def noted(fd: int) -> None:
        fsync(fd)
        seen = os.fstat(fd)
        synced[seen.st_ino] = (seen.st_size, seen.st_mtime_ns)

    def renamed(path: Path, target: Path) -> Path:
        if target.name == "metadata.json":
            before.update(synced)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", renamed)
    site.write({f"{folder}{number}.csv": TABLE for folder in ("", "in/side/") for number in range(4)})
    folder = site.folder()
    if early == "others":
        site.collect([("*.csv", HIGH)], into=folder)
        folder.sync_files()
        synced.clear()
    collection = site.collect([("*.csv", MODERATE), ("in/side/*.csv", HIGH)], into=folder)
    if early == "these":
        folder.sync_files()
    folder.log.write_text("said late\n")
    folder.finish(facts(), collection, site.check(collection, folder))
    held = [path for path in folder.path.rglob("*") if path.name != "metadata.json"]
    assert len(held) == 13
    for path in held:
        assert before.get(path.stat().st_ino) == (path.stat().st_size, path.stat().st_mtime_ns), path
    # The names in it, which the rename changes once more.
    assert folder.path.stat().st_ino in before
    assert synced[folder.path.stat().st_ino] == (folder.path.stat().st_size, folder.path.stat().st_mtime_ns)


def test_an_unfinished_run_is_emptied(site: Site) -> None:
    folder = site.folder(log="old")
    (folder.files / "deep").mkdir()
    (folder.files / "deep/rest.csv").write_text("half")
    again = RunFolder.create(site.high, job_id(), 1)
    assert list(again.files.iterdir()) == []
    assert again.log.read_text() == ""


def test_an_unfinished_run_can_be_gone_on_with(site: Site) -> None:
    site.folder(log="kept")
    assert RunFolder.reopen(site.high, job_id(), 1).log.read_text() == "kept"
    with pytest.raises(FileNotFoundError):
        RunFolder.reopen(site.high, job_id(), 2)


def test_a_failed_attempt_keeps_its_log_and_no_file(site: Site) -> None:
    folder = site.folder(log="boom\n")
    (folder.files / "half.csv").write_text("half")
    record = folder.finish(facts(exit_status=1, reason="nonzero_exit"))
    assert record.outputs == ()
    assert not record.succeeded
    assert record.log_path.read_text() == "boom\n"
    assert record.log.excluded


@pytest.mark.parametrize(("job", "attempt"), [("../x", 1), ("A" * 26, 1), ("a" * 25, 1), ("a" * 26, 0)])
def test_P15_only_a_job_id_makes_a_folder(site: Site, job: str, attempt: int) -> None:
    with pytest.raises(ValueError):
        RunFolder.create(site.high, job, attempt)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 2}', b"\xff", b"[" * 100_000])
def test_a_broken_record_says_so(site: Site, content: bytes) -> None:
    with pytest.raises(RecordBroken):
        records.load(content, site.high)


def test_an_unknown_field_breaks_a_record(site: Site) -> None:
    record = site.run({"t.csv": TABLE})
    data = json.loads(records.dump(record))
    with pytest.raises(RecordBroken):
        records.load(json.dumps({**data, "extra": 1}).encode(), record.folder)
    assert records.load(json.dumps(data).encode(), record.folder) == record


def test_an_unchecked_moderate_file_is_excluded(site: Site) -> None:
    record = site.run({"t.csv": TABLE}, check=False)
    assert record.outputs[0].excluded
    assert "SDC099" in str(record.outputs[0].message)


def test_a_log_that_grew_after_its_check_is_excluded(site: Site) -> None:
    site.write({"t.csv": TABLE})
    folder = site.folder()
    collection = site.collect([("t.csv", MODERATE)], into=folder)
    report = site.check(collection, folder)
    with folder.log.open("a") as log:
        log.write("more\n")
    assert folder.finish(facts(), collection, report).log.excluded


def test_staged_inputs_are_the_stored_files_themselves(site: Site) -> None:
    first = site.run({"out/a.csv": TABLE, "b.bin": b"1"}, level=HIGH, action="first")
    second = site.run({"out/deep/c.csv": TABLE}, job="b", action="second")
    staged = stage_inputs([first, second], site.high / "lower")
    assert [file.path for file in staged.files] == ["b.bin", "out/a.csv", "out/deep/c.csv"]
    assert staged.paths == {"b.bin", "out/a.csv", "out/deep/c.csv"}
    for file in staged.files:
        linked = staged.root / file.path
        assert os.path.samestat(linked.stat(), file.stored.stat())
        assert stat.S_IMODE(linked.stat().st_mode) == 0o444
    for folder in (staged.root, staged.root / "out", staged.root / "out/deep"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777
    assert (staged.files[1].job_id, staged.files[1].attempt, staged.files[1].action) == (job_id(), 1, "first")


def test_staging_again_starts_anew(site: Site) -> None:
    record = site.run({"a.csv": TABLE})
    lower = site.high / "lower"
    stage_inputs([record], lower)
    (lower / "rest").write_text("x")
    stage_inputs([record], lower)
    assert sorted(path.name for path in lower.iterdir()) == ["a.csv"]


def test_two_inputs_of_one_path_are_refused(site: Site) -> None:
    first = site.run({"a.csv": TABLE})
    second = site.run({"a.csv": TABLE}, job="b")
    with pytest.raises(InputChanged):
        stage_inputs([first, second], site.high / "lower")


def test_a_record_with_an_impossible_path_is_refused(site: Site) -> None:
    record = site.run({"a.csv": TABLE})
    output = replace(record.outputs[0], path="../a.csv")
    with pytest.raises(InputChanged):
        stage_inputs([replace(record, outputs=(output,))], site.high / "lower")


def test_a_report_on_other_bytes_says_nothing_of_these(site: Site) -> None:
    record = site.run({"t.csv": TABLE})
    (output,) = record.outputs
    file = CollectedFile("t.csv", MODERATE, output.sha256, output.size, record.files / "t.csv", 0, 0, 0)
    passed = FileReport("t.csv", output.sha256, output.size, "csv", "text", 1, 2, 2, (), (), ())
    assert not output_verdict(file, passed)["excluded"]
    assert output_verdict(file, replace(passed, sha256="0" * 64))["excluded"]
