import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobrunner.privacy.checking import Checker, CheckLimits, Coming, GivenUp, check_files
from jobrunner.privacy.confined_process import ConfinedProcess
from jobrunner.privacy.disclosure import rulebook
from tests.privacy.making import CHECK_UID, HIGH, IS_ROOT, LAUNCHER, MODERATE, Site

pytestmark = pytest.mark.unit
TABLE = "group,n\na,10\nb,25\n"


def test_only_moderate_files_and_the_log_are_checked(site: Site) -> None:
    site.write({"a.csv": TABLE, "b.bin": b"\x00"})
    folder = site.folder()
    collection = site.collect([("a.csv", MODERATE), ("b.bin", HIGH)], into=folder)
    report = site.check(collection, folder)
    assert [one.path for one in report.files] == ["a.csv"]
    assert report.log is not None
    assert report.log.verdict == "none"
    assert report.complete


def test_nothing_to_check_starts_no_process(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    report = check_files([], checker=Checker(LAUNCHER, CHECK_UID, CHECK_UID))
    assert report.files == ()
    assert report.complete


def test_without_a_worker_every_file_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write({"a.csv": TABLE, "b.csv": TABLE})
    folder = site.folder()
    collection = site.collect([("*.csv", MODERATE)], into=folder)
    LAUNCHER.stop()
    monkeypatch.setattr("sys.executable", "/nonexistent")
    report = site.check(collection, folder)
    assert [one.findings[0].rule for one in report.files] == ["SDC099", "SDC099"]
    assert not report.complete


def test_many_files_pass_through_several_children(site: Site) -> None:
    site.write({f"{number:03}.csv": TABLE for number in range(250)})
    folder = site.folder()
    collection = site.collect([("*.csv", MODERATE)], into=folder)
    started = time.perf_counter()
    report = site.check(collection, folder)
    assert time.perf_counter() - started < 5
    assert [one.path for one in report.files] == [file.path for file in collection.files]
    assert report.complete


def test_all_files_share_one_time(site: Site) -> None:
    site.write({f"{number}.csv": TABLE for number in range(3)})
    folder = site.folder()
    collection = site.collect([("*.csv", MODERATE)], into=folder)
    report = site.check(collection, folder, CheckLimits(total_seconds=-1))
    assert {one.findings[0].message for one in report.files} == {"not checked (time limit)"}


def test_a_wrong_rulebook_is_an_error_and_not_a_pass(site: Site) -> None:
    with pytest.raises(rulebook.RulebookError):
        Checker(LAUNCHER, CHECK_UID, CHECK_UID, b"schema = 1")


@pytest.mark.skipif(not IS_ROOT, reason="needs root to change the user and the network")
def test_the_worker_has_no_network_and_no_rights() -> None:
    worker = ConfinedProcess(
        LAUNCHER,
        "worker",
        [10, 20, 256 * 1024**2],
        uid=CHECK_UID,
        gid=CHECK_UID,
        timeout=10,
        first={"rulebook": rulebook.default_rulebook().decode()},
        own_network=True,
    )
    try:
        worker.confirm()
        pid = worker.pid
        status = Path(f"/proc/{pid}/status").read_text()
        devices = re.findall(r"^\s*(\w+):", Path(f"/proc/{pid}/net/dev").read_text(), re.M)
        fds = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
    finally:
        worker.stop()
    assert not {name for name in devices if name.startswith(("e", "w")) and name != "erspan0"}
    assert f"Uid:\t{CHECK_UID}\t{CHECK_UID}" in status
    assert "CapEff:\t0000000000000000" in status
    assert all(fd == "/dev/null" or fd.startswith("socket:") for fd in fds)


def test_files_of_another_job_meet_another_process(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write({"a.csv": TABLE})
    folder = site.folder()
    collection = site.collect([("a.csv", MODERATE)], into=folder)
    used: list[int] = []
    confirm = ConfinedProcess.confirm

    def noted(process: ConfinedProcess) -> None:
        used.append(process.pid)
        confirm(process)

    monkeypatch.setattr(ConfinedProcess, "confirm", noted)
    checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID)
    for _job in range(2):
        assert check_files(collection.files, checker=checker, log=folder.log).complete
        assert checker.worker is None
    assert len(set(used)) == 2


def test_of_a_log_that_came_twice_the_last_one_counts(site: Site) -> None:
    site.write({"a.csv": TABLE})
    folder = site.folder()
    collection = site.collect([("a.csv", MODERATE)], into=folder)
    with ThreadPoolExecutor(1) as beside, Coming() as coming:
        checked = beside.submit(
            check_files, coming, checker=Checker(LAUNCHER, CHECK_UID, CHECK_UID), log=folder.log
        )
        for line in ("said early\n", "said late\n"):
            folder.log.write_text(line)
            coming.put_log()
        for file in collection.files:
            coming.put(file)
    report = checked.result()
    assert report.log is not None
    assert report.log.sha256 == hashlib.sha256(b"said late\n").hexdigest()
    assert [one.path for one in report.files] == ["a.csv"]


def test_P21_checks_that_nobody_needs_any_more_stop(site: Site) -> None:
    class Unwanted(Exception):
        pass

    def unwanted() -> None:
        raise Unwanted

    site.write({"a.csv": TABLE})
    folder = site.folder()
    collection = site.collect([("a.csv", MODERATE)], into=folder)
    checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID)
    with pytest.raises(Unwanted):
        check_files(collection.files, checker=checker, log=folder.log, still_wanted=unwanted)
    assert checker.worker is None
    checker.stop()


@pytest.mark.slow
def test_O14_a_check_does_not_wait_for_the_next_file(site: Site) -> None:
    """Reports longer than a socket holds, and then a pause that is longer than one check may take."""
    header = ",".join(f"patient_id_{number}" for number in range(199))
    rows = "".join(
        ",".join(str(10**9 + row * 199 + number) for number in range(199)) + "\n" for row in range(60)
    )
    site.write({"a.csv": f"{header}\n{rows}", "b.csv": TABLE, "c.csv": TABLE})
    folder = site.folder()
    files = site.collect([("*.csv", MODERATE)], into=folder).files
    checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID, limits=CheckLimits(wall_seconds=2))
    with ThreadPoolExecutor(1) as beside, Coming() as coming:
        checked = beside.submit(check_files, coming, checker=checker, log=folder.log)
        coming.put(files[0])
        coming.put(files[1])
        time.sleep(4)
        coming.put(files[2])
    report = checked.result()
    assert report.complete
    assert [one.verdict for one in report.files] == ["stop", "none", "none"]
    assert len(report.to_json()) > 300_000


@pytest.mark.slow
def test_P21_when_collecting_fails_no_check_is_finished(site: Site) -> None:
    site.write({f"{number}.txt": "1\n" * 4_000_000 for number in range(12)})
    folder = site.folder()
    files = site.collect([("*.txt", MODERATE)], into=folder).files
    checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID)
    with ThreadPoolExecutor(1) as beside:
        coming = Coming()
        checked = beside.submit(check_files, coming, checker=checker, log=folder.log)
        coming.__enter__()
        for file in files:
            coming.put(file)
        time.sleep(0.2)
        failed = time.monotonic()
        coming.__exit__(RuntimeError, RuntimeError("refused"), None)
        assert isinstance(checked.exception(), GivenUp)
        assert time.monotonic() - failed < 3
    assert checker.worker is None
    checker.stop()


def test_when_the_time_is_over_what_was_asked_is_not_waited_for(site: Site) -> None:
    site.write({f"{number}.csv": TABLE for number in range(20)})
    folder = site.folder()
    collection = site.collect([("*.csv", MODERATE)], into=folder)
    report = site.check(collection, folder, CheckLimits(total_seconds=0))
    assert [one.path for one in report.files] == [file.path for file in collection.files]
    assert {one.findings[0].message for one in report.files} == {"not checked (time limit)"}
