"""Outputs as a weapon: threats.md section 8, rows O01-O04, O13-O16, J07 and J09.

Each attack first asserts its effect (the canary is in no collected byte), then the reason, and has a twin in
which the same bytes with permission are collected.
"""

import gzip
import io
import os
import pickle
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner.pipeline.patterns import PatternSet
from jobrunner.privacy import collector
from jobrunner.privacy.checking import Checker, CheckLimits, check_files
from jobrunner.privacy.collect import CollectLimits, OutputsMissing, OutputsRefused
from jobrunner.privacy.runs import InputChanged, InputMissing, read_run, stage_inputs
from tests.privacy.making import (
    CHECK_UID,
    HIGH,
    IS_ROOT,
    LAUNCHER,
    MODERATE,
    Site,
    facts,
    holds,
    job_id,
    opened,
)

pytestmark = pytest.mark.unit
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root to make devices and to change the user")

CANARY = b"CANARY-4f1c"
TABLE = "group,n\na,10\nb,25\n"
WORKSPACE = "prj-main-0a1b2c3d"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that the agent can read and the job may not have."""
    path = tmp_path / "victim.csv"
    path.write_bytes(CANARY)
    return path


# O01


def _link_to_file(out: Path, victim: Path) -> None:
    (out / "x.csv").symlink_to(victim)


def _relative_link(out: Path, victim: Path) -> None:
    (out / "x.csv").symlink_to(os.path.relpath(victim, out))


def _chain(out: Path, victim: Path) -> None:
    (out / "x.csv").symlink_to("step1")
    (out / "step1").symlink_to("step2")
    (out / "step2").symlink_to(victim)


def _fifo(out: Path, victim: Path) -> None:
    os.mkfifo(out / "x.csv")


def _socket(out: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(out)
        try:
            listener.bind("x.csv")
        finally:
            os.chdir(here)


def _magic_link(out: Path, victim: Path) -> None:
    (out / "x.csv").symlink_to(f"/proc/{os.getpid()}/root{victim}")


def _dangling(out: Path, victim: Path) -> None:
    (out / "x.csv").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_link_to_file, "is a link"),
        (_relative_link, "is a link"),
        (_chain, "is a link"),
        (_magic_link, "is a link"),
        (_dangling, "is a link"),
        (_fifo, "is a pipe"),
        (_socket, "is a socket"),
    ],
)
def test_O01_what_is_no_regular_file_is_not_read(
    site: Site, victim: Path, make: Callable[[Path, Path], None], says: str
) -> None:
    site.write({"out/other.csv": "harmless"})
    make(site.work / "out", victim)
    folder = site.folder()
    with pytest.raises(OutputsMissing) as caught:
        site.collect([("out/x.csv", HIGH), ("out/other.csv", HIGH)], into=folder)
    assert not holds(site.high, CANARY)
    assert caught.value.patterns == ("out/x.csv",)
    assert any("`out/x.csv`" in oddity and says in oddity for oddity in caught.value.oddities)
    # It satisfies no pattern, but does not spoil one that a regular file satisfies.
    notes = site.collect([("out/*.csv", HIGH)], into=folder).notes
    assert not holds(site.high, CANARY)
    assert any(says in note for note in notes)


@needs_root
@pytest.mark.parametrize("device", [os.makedev(1, 3), os.makedev(1, 5), os.makedev(0, 0)])
def test_O01_device_is_not_opened(site: Site, device: int) -> None:
    site.write({"out/other.csv": "harmless"})
    os.mknod(site.work / "out/x.csv", stat.S_IFCHR | 0o666, device)
    with pytest.raises(OutputsMissing) as caught:
        site.collect([("out/x.csv", HIGH)])
    (oddity,) = caught.value.oddities
    assert "is a device" in oddity or "was deleted" in oddity


def test_O01_folder_that_is_a_link_is_not_entered(site: Site, victim: Path) -> None:
    outside = victim.parent / "outside"
    outside.mkdir()
    (outside / "x.csv").write_bytes(CANARY)
    (site.work / "out").symlink_to(outside)
    with pytest.raises(OutputsMissing) as caught:
        site.collect([("out/x.csv", HIGH), ("out/*.csv", HIGH)])
    assert not holds(site.high, CANARY)
    assert caught.value.oddities == ("`out` is a link; it was not collected.",)


def test_O01_hard_link_is_refused(site: Site, victim: Path) -> None:
    site.write({"out/other.csv": "harmless"})
    os.link(victim, site.work / "out/x.csv")
    with pytest.raises(OutputsRefused) as caught:
        site.collect([("out/*.csv", HIGH)])
    assert not holds(site.high, CANARY)
    assert caught.value.refused == (("out/x.csv", "it has a second name (hard link)"),)


def test_O01_twin_a_regular_file_with_the_same_bytes_is_read(site: Site) -> None:
    site.write({"out/x.csv": CANARY})
    site.collect([("out/x.csv", HIGH)])
    assert holds(site.high, CANARY)


_SWAP = """
import os, sys
place, victim, how = sys.argv[1:]
os.chdir(place)
while True:
    with open("new", "wb") as file:
        file.write(b"harmless")
    os.rename("new", "x.csv")
    if how == "symlink":
        os.symlink(victim, "new")
    elif how == "hardlink":
        os.link(victim, "new")
    else:
        os.rename("../dir", "../away")
        os.symlink(victim, "../dir")
        os.unlink("../dir")
        os.rename("../away", "../dir")
        continue
    os.rename("new", "x.csv")
"""


@contextmanager
def racing(program: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE)
    try:
        time.sleep(0.05)
        yield
        assert process.poll() is None, process.stderr.read() if process.stderr else b""
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.mark.parametrize("how", ["symlink", "hardlink", "folder"])
def test_O01_swap_by_a_racing_process_reads_nothing(site: Site, victim: Path, how: str) -> None:
    site.write({"dir/x.csv": "harmless"})
    target = victim
    if how == "folder":
        target = victim.parent / "outside"
        target.mkdir()
        (target / "x.csv").write_bytes(CANARY)
    folder = site.folder()
    outcomes = set()
    with racing(_SWAP, str(site.work / "dir"), str(target), how):
        for _time in range(20):
            try:
                files = site.collect([("dir/x.csv", HIGH)], into=folder).files
                outcomes.add("collected")
                assert files[0].stored.read_bytes() in (b"harmless", b"")
            except (OutputsMissing, OutputsRefused) as error:
                outcomes.add(type(error).__name__)
            assert not holds(site.high, CANARY)
    assert outcomes


_GROW = """
import os, sys, time
with open(sys.argv[1], "r+b", buffering=0) as file:
    while True:
        os.pwrite(file.fileno(), os.urandom(8), 0)
"""


def test_O01_file_that_changes_during_the_copy_is_refused(site: Site) -> None:
    site.write({"x.bin": b"\x00" * (64 << 20)})
    with racing(_GROW, str(site.work / "x.bin")), pytest.raises(OutputsRefused) as caught:
        site.collect([("x.bin", HIGH)])
    assert caught.value.refused == (("x.bin", "it changed while it was read"),)
    assert len(site.collect([("x.bin", HIGH)]).files) == 1


# O02


@pytest.mark.parametrize(
    "name",
    [
        b"con.csv",
        b"NUL",
        b"trailing.",
        b"trailing ",
        b"-rf.csv",
        b"back\\slash.csv",
        b"line\nend.csv",
        b"\x1b[31mred.csv",
        "\u202egnp.csv".encode(),
        "in\u200bvisible.csv".encode(),
        "e\u0301.csv".encode(),
        b"latin-\xe9.csv",
        b"x" * 201,
    ],
)
def test_O02_bad_name_is_refused_and_never_changed(site: Site, name: bytes) -> None:
    site.write({"out/good.csv": "1"})
    Path(os.fsdecode(os.fsencode(site.work / "out") + b"/" + name)).write_bytes(CANARY)
    with pytest.raises(OutputsRefused) as caught:
        site.collect([("out/*", HIGH)])
    assert not holds(site.high, CANARY)
    assert len(caught.value.refused) == 1
    assert str(caught.value).isprintable()


def test_O02_names_that_differ_in_case_only_are_refused(site: Site) -> None:
    site.write({"out/A.csv": CANARY, "out/a.csv": CANARY})
    with pytest.raises(OutputsRefused) as caught:
        site.collect([("out/*", HIGH)])
    assert not holds(site.high, CANARY)
    assert "collides" in caught.value.refused[0][1]


def test_O02_twin_plain_names_are_collected(site: Site) -> None:
    site.write({"out/A.csv": "1", "out/b é.csv": "2", "out/.c": "3"})
    assert len(site.collect([("out/*", HIGH)]).files) == 3


@pytest.mark.parametrize("path", ["t.csv", "T.csv", "t.csv/x"])
def test_O02_output_of_another_action_is_refused(site: Site, path: str) -> None:
    good = site.run({"t.csv": TABLE}, action="owner")
    site.publish(good)
    thief = site.run({path: TABLE + "c,30\n"}, action="thief", job="b")
    with pytest.raises(OutputsRefused):
        site.publish(thief)
    assert site.view(site.high)["t.csv"] == TABLE.encode()
    assert site.areas.current_run(WORKSPACE, "thief") is None
    # The twin: the owner itself may replace it.
    assert site.publish(site.run({"t.csv": TABLE + "c,30\n"}, action="owner", job="c"))


@pytest.mark.parametrize(
    "taken", ["rows.csv.txt", "ROWS.csv.txt", "rows.csv.txt/t.csv", "rows.csv.txt/deep/t.csv"]
)
@pytest.mark.parametrize("owner", ["model", "other"])
def test_O02_a_notice_takes_no_name_from_an_output(site: Site, taken: str, owner: str) -> None:
    bad = {"rows.csv": "patient_id,x\n1,2\n"}
    good = {taken: TABLE}
    if owner == "model":
        assert site.publish(site.run({**bad, **good}))
    else:
        assert site.publish(site.run(good, action=owner))
        assert site.publish(site.run(bad, job="b"))
    medium = site.view(site.medium)
    assert medium[taken] == TABLE.encode()
    assert b"SDC021" in medium["rows.csv.2.txt"]
    # And once the name is free again, the notice has it.
    assert site.publish(site.run({"t.csv": TABLE}, action=owner, job="c"))
    if owner == "other":
        assert set(site.view(site.medium)) == {
            *("rows.csv.txt", "t.csv", "metadata/model.log", "metadata/other.log")
        }


def test_O02_no_name_of_a_notice_is_too_long(site: Site) -> None:
    bases = ["n" * (200 - 4 * 16) + ".txt" * times for times in range(17)]
    assert site.publish(site.run(dict.fromkeys(bases, "patient_id,x\n1,2\n")))
    # Only the first is kept out: it has no suffix. Every other name stands where its notice would like to be.
    assert set(site.view(site.medium)) == {*bases[1:], f"{bases[0]}.2.txt", "metadata/model.log"}


# O03, O04


def _zip(inside: bytes = b"patient_id\n" + CANARY) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("rows.csv", inside)
    return target.getvalue()


def _tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        member = tarfile.TarInfo("rows.csv")
        member.size = len(CANARY)
        archive.addfile(member, io.BytesIO(CANARY))
    return target.getvalue()


PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def excluded_everywhere(site: Site, path: str, content: bytes) -> str:
    """Publish one moderately sensitive file, assert that it stayed inside, and return its message."""
    record = site.run({path: content, "fine.csv": TABLE})
    site.publish(record)
    medium = site.view(site.medium)
    assert content not in medium.values()
    assert not holds(site.medium, CANARY)
    assert set(medium) == {f"{path}.txt", "fine.csv", "metadata/model.log"}
    assert site.view(site.high)[path] == content
    (message,) = [output.message for output in record.outputs if output.path == path]
    return str(message)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("t.csv", _zip()),
        ("t.csv", _zip(_zip())),
        ("t.csv", _tar()),
        ("t.csv", gzip.compress(CANARY, mtime=0)),
        ("fig.png", PNG_HEAD + CANARY + _zip()),
        ("t.csv", TABLE.encode() + CANARY + _zip()),
        ("fig.svg", gzip.compress(b"<svg>" + CANARY + b"</svg>", mtime=0)),
        ("fig.svgz", gzip.compress(b"<svg>" + CANARY + b"</svg>", mtime=0)),
        ("t.zip", _zip()),
    ],
)
def test_O03_archive_under_any_name_stays_inside(site: Site, path: str, content: bytes) -> None:
    assert "SDC030" in excluded_everywhere(site, path, content)


def test_O03_twin_honest_files_are_shown(site: Site) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><text>' + CANARY + b"</text></svg>"
    site.publish(site.run({"fig.svg": svg, "t.csv": b"group,n\n" + CANARY + b",10\n"}))
    assert set(site.view(site.medium)) == {"fig.svg", "t.csv", "metadata/model.log"}
    assert holds(site.medium, CANARY)


def _sqlite(tmp_path: Path) -> bytes:
    place = tmp_path / "rows.db"
    with sqlite3.connect(place) as connection:
        connection.execute("create table t (patient_id, x)")
        connection.execute("insert into t values (1, ?)", (CANARY.decode(),))
    connection.close()
    return place.read_bytes()


@pytest.mark.parametrize(
    ("path", "content", "rule"),
    [
        ("t.txt", b"patient_id,age\n1,50\n2,60\n3,70\n" + CANARY, "SDC021"),
        ("t.png", b"<!doctype html><p>" + CANARY, "SDC030"),
        ("t.csv", b"\xef\xbb\xbfPatient Id,n\n" + CANARY + b",1\n", "SDC021"),
        ("t.csv", ("patient_id\n" + CANARY.decode()).encode("utf-16"), "SDC030"),
        ("t.csv", b",".join(b"c%d" % number for number in range(100_000)) + b"\n" + CANARY, "SDC031"),
        ("t.csv", b'"title\nof it"\npatient_id,x\n' + CANARY + b',"a\nb"\n', "SDC021"),
        ("t.csv", "pat\u200bient_id\n".encode() + CANARY, "SDC021"),
        ("t.json", b'{"rows": [{"Patient Id": "' + CANARY + b'"}]}', "SDC021"),
        ("run.log", b"PAR1\x15\x04" + CANARY + b"PAR1", "SDC030"),
        ("run.log", b"ARROW1\x00\x00" + CANARY, "SDC030"),
        ("run.log", gzip.compress(b"X\n\x00\x00\x00\x03" + CANARY, mtime=0), "SDC030"),
        ("run.log", b"X\n\x00\x00\x00\x03" + CANARY, "SDC032"),
        ("run.log", b"<stata_dta><header>" + CANARY, "SDC030"),
        ("run.log", _zip(), "SDC030"),
    ],
)
def test_O04_disguised_rows_stay_inside(site: Site, path: str, content: bytes, rule: str) -> None:
    assert rule in excluded_everywhere(site, path, content)


def test_O04_database_named_log_stays_inside(site: Site, tmp_path: Path) -> None:
    assert "SDC030" in excluded_everywhere(site, "run.log", _sqlite(tmp_path))


def test_O04_twin_text_in_odd_but_honest_form_is_shown(site: Site) -> None:
    site.publish(site.run({"t.csv": b'\xef\xbb\xbfgroup,n\n"two\nlines ' + CANARY + b'",10\n'}))
    assert holds(site.medium, CANARY)


# O13


def test_O13_failed_attempt_leaves_good_outputs_alone(site: Site) -> None:
    site.publish(site.run({"t.csv": TABLE}))
    before = site.view(site.high), site.view(site.medium), site.areas.manifest(WORKSPACE)
    for letter, outcome in zip(
        "bcd", [(1, "nonzero_exit"), (None, "by_requester"), (0, "outputs_missing")], strict=True
    ):
        status, reason = outcome
        record = site.run({"t.csv": CANARY}, job=letter, exit_status=status, reason=reason)
        with pytest.raises(ValueError):
            site.publish(record)
    assert (site.view(site.high), site.view(site.medium), site.areas.manifest(WORKSPACE)) == before
    # The twin: the same bytes of an attempt that succeeded.
    site.publish(site.run({"t.csv": CANARY}, job="e"))
    assert site.view(site.high)["t.csv"] == CANARY


def test_O13_lower_attempt_never_replaces_a_higher_one(site: Site) -> None:
    late = site.run({"t.csv": CANARY}, attempt=1)
    site.publish(site.run({"t.csv": TABLE}, attempt=2))
    assert not site.publish(late)
    assert not holds(site.high / "workspaces", CANARY)
    # The twins: a higher attempt, and the first attempt of a later job.
    assert site.publish(site.run({"t.csv": "x,n\na,10\n"}, attempt=3))
    assert site.publish(site.run({"t.csv": CANARY}, job="b", attempt=1))
    assert holds(site.high / "workspaces", CANARY)


# O14


def check_all(site: Site, files: dict[str, bytes], limits: CheckLimits) -> dict[str, list[str]]:
    site.write(files)
    folder = site.folder()
    collection = site.collect([(path, MODERATE) for path in files], into=folder)
    report = site.check(collection, folder, limits)
    assert report.log is not None
    return {one.path: [finding.message for finding in one.findings] for one in report.files}


LIMITS = CheckLimits(cpu_seconds=1, wall_seconds=10)


def test_O14_check_that_raises_refuses_only_its_file(site: Site) -> None:
    files = {"a.json": b"[" * 100_000, "b.csv": TABLE.encode(), "c.csv": b"a\n" + b"x" * 200_000}
    found = check_all(site, files, CheckLimits())
    assert found["a.json"] == ["not checked (nested too deeply)"]
    assert found["c.csv"] == ["not checked (check failed)"]
    assert found["b.csv"] == []


@pytest.mark.slow
def test_O14_check_that_takes_too_long_refuses_only_its_file(site: Site) -> None:
    text = b"1\n" * 8_000_000  # three times what one second of a fast processor checks
    found = check_all(site, {"a.txt": text, "b.csv": TABLE.encode()}, LIMITS)
    assert found["a.txt"] == ["not checked (time limit)"]
    assert found["b.csv"] == []


def test_O14_check_that_needs_too_much_memory_refuses_only_its_file(site: Site) -> None:
    content = b"[" + b"0.5," * 1_500_000 + b"0.5]"
    small = CheckLimits(memory_bytes=80 * 1024**2)
    found = check_all(site, {"a.json": content, "b.csv": TABLE.encode()}, small)
    assert found["a.json"][0] in ("not checked (memory limit)", "not checked (check failed)")
    assert found["b.csv"] == []


def test_O14_worker_that_is_killed_refuses_and_the_rest_goes_on(site: Site) -> None:
    text = b"".join(b"%d %d\n" % (number, number * 7) for number in range(700_000))
    site.write({"a.txt": text, "b.csv": TABLE.encode()})
    folder = site.folder()
    collection = site.collect([("a.txt", MODERATE), ("b.csv", MODERATE)], into=folder)
    checker = Checker(LAUNCHER, CHECK_UID, CHECK_UID)
    killer = threading.Thread(target=_kill_worker_of, args=(checker,))
    killer.start()
    report = check_files(collection.files, checker=checker, log=folder.log)
    killer.join()
    checker.stop()
    assert [one.verdict for one in report.files] == ["stop", "none"]
    assert report.files[0].findings[0].rule == "SDC099"


def _kill_worker_of(checker: Checker) -> None:
    """Kill the prepared worker, not only its child, in the middle of the first file."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        worker = checker.worker
        if worker is not None and Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text():
            time.sleep(0.2)
            os.kill(worker.pid, signal.SIGKILL)
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_O14_twin_the_same_file_passes_within_the_limits(site: Site) -> None:
    text = b"1\n" * 8_000_000  # three times what one second of a fast processor checks
    found = check_all(site, {"a.txt": text}, CheckLimits(cpu_seconds=60, wall_seconds=60))
    assert found["a.txt"] == []


# O15


def test_O15_one_file_too_many_is_refused(site: Site) -> None:
    limits = CollectLimits(files=50)
    site.write({f"{number}.csv": "1" for number in range(50)})
    assert len(site.collect([("*.csv", HIGH)], limits=limits).files) == 50
    site.write({"more.csv": "1"})
    folder = site.folder()
    with pytest.raises(OutputsRefused, match="more than 50 files"):
        site.collect([("*.csv", HIGH)], into=folder, limits=limits)
    assert list(folder.files.iterdir()) == []
    assert CollectLimits().files == 5_000


def test_O15_sparse_giant_is_refused_and_not_copied(site: Site) -> None:
    site.write({"big.bin": b""})
    os.truncate(site.work / "big.bin", 21 * 1024**3)
    started = time.perf_counter()
    with pytest.raises(OutputsRefused, match="larger than"):
        site.collect([("big.bin", HIGH)])
    assert time.perf_counter() - started < 5
    assert not list((site.high / "runs").rglob("big.bin"))


def test_O15_bytes_are_counted_over_all_files(site: Site) -> None:
    site.write({"a.bin": b"x" * 600, "b.bin": b"x" * 400})
    assert site.collect([("*.bin", HIGH)], limits=CollectLimits(total_bytes=1000)).files
    with pytest.raises(OutputsRefused, match="larger than 999 bytes"):
        site.collect([("*.bin", HIGH)], limits=CollectLimits(total_bytes=999))


@pytest.mark.parametrize("deep", [32, 33])
def test_O15_depth_33_is_refused(site: Site, deep: int) -> None:
    path = "/".join(["d"] * (deep - 1) + ["x.csv"])
    site.write({path: CANARY})
    if deep == 32:
        assert site.collect([(path, HIGH)]).files
    else:
        with pytest.raises(OutputsRefused, match="deeper than 32"):
            site.collect([(path, HIGH)])
        assert not holds(site.high, CANARY)


def test_O15_entries_are_counted_and_unreachable_folders_not_walked(site: Site) -> None:
    site.write({f"side/{number}": "x" for number in range(60)} | {"out/x.csv": "1"})
    limits = CollectLimits(entries=50)
    assert site.collect([("out/x.csv", HIGH)], limits=limits).files
    with pytest.raises(OutputsRefused, match="more than 50 files and folders"):
        site.collect([("out/x.csv", HIGH), ("side/*", HIGH)], limits=limits)


def test_O15_names_that_wait_to_be_walked_are_capped_in_bytes(site: Site) -> None:
    long = "n" * 150
    site.write({f"out/{long}{number}/x.csv": "1" for number in range(60)})
    wanted = [("out/*/x.csv", HIGH)]
    assert len(site.collect(wanted).files) == 60
    # The names of one folder, and then the paths that they make.
    for room, says in ((2_000, "bytes of names"), (20_000, "bytes of paths")):
        with pytest.raises(OutputsRefused, match=f"more than {room} {says} are waiting"):
            site.collect(wanted, limits=CollectLimits(waiting_bytes=room))


def test_O15_a_walk_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    def too_large(_patterns: object) -> PatternSet:
        raise MemoryError

    ours, theirs = socket.socketpair()
    with ours, theirs, opened(tmp_path) as root:
        handed = collector.HandedOver(theirs)
        why = collector.why_stopped(handed, root, {"patterns": []}, too_large)  # type: ignore[arg-type]
    assert why is not None
    assert "more memory than there is" in why


# O16


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.marker), 0o777)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_O16_pickle_is_never_loaded(site: Site, tmp_path: Path, protocol: int) -> None:
    tmp_path.chmod(0o777)
    marker = tmp_path / "marker"
    content = pickle.dumps(_Payload(marker), protocol=protocol)
    assert "SDC03" in excluded_everywhere(site, "t.json", content)
    assert not marker.exists()
    pickle.loads(content)  # noqa: S301 (the twin: the payload works)
    assert marker.exists()


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%s">' % (number, b"&a%d;" % (number - 1) * 10) for number in range(1, 12))
    + b"]><svg><text>&a11;</text></svg>"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("bomb.svg", BOMB),
        ("slow.txt", b"<!--" * 200_000),
        ("slow.svg", b"<!---->" * 100_000),
        ("slow.log", b"|  " * 300_000),
        ("slow.md", b"a" * 1_000_000 + b"@"),
        ("slow.txt", b"1" * 1_000_000),
        ("slow.csv", b'"' * 1_000_000),
        ("field.csv", b"a\n" + b"x" * 10_000_000),
        ("int.json", b"[" + b"9" * 1_000_000 + b"]"),
    ],
)
def test_O16_hostile_text_is_checked_or_refused_within_limits(site: Site, path: str, content: bytes) -> None:
    started = time.perf_counter()
    check_all(site, {path: content, "b.csv": TABLE.encode()}, CheckLimits())
    assert time.perf_counter() - started < 5


# J07


def test_J07_file_at_two_levels_is_highly_sensitive(site: Site) -> None:
    site.write({"out/a.csv": CANARY})
    folder = site.folder()
    collection = site.collect([("out/*.csv", MODERATE), ("out/a.csv", HIGH)], into=folder)
    assert [(file.path, file.level) for file in collection.files] == [("out/a.csv", HIGH)]
    assert any("two levels" in note for note in collection.notes)
    site.publish(folder.finish(facts(), collection, site.check(collection, folder)))
    assert not holds(site.medium, CANARY)


def test_J07_twin_two_patterns_at_one_level_count_once(site: Site) -> None:
    site.write({"out/a.csv": TABLE})
    collection = site.collect([("out/*.csv", MODERATE), ("out/a.csv", "minimally_sensitive")])
    assert [(file.path, file.level) for file in collection.files] == [("out/a.csv", MODERATE)]
    assert collection.notes == ()


# J09


@pytest.mark.parametrize("reason", ["nonzero_exit", "by_requester", "internal_error"])
def test_J09_run_that_did_not_succeed_is_no_input(site: Site, reason: str) -> None:
    bad = site.run({"a.csv": CANARY}, reason=reason, exit_status=1)
    lower = site.high / "lower"
    with pytest.raises(InputMissing):
        stage_inputs([bad], lower)
    assert not holds(lower, CANARY)
    assert site.areas.current_run(WORKSPACE, "model") is None


def test_J09_running_attempt_is_no_input(site: Site) -> None:
    site.folder(attempt=2)
    with pytest.raises(FileNotFoundError):
        read_run(site.high, job_id(), 2)


def _rewrite(stored: Path) -> None:
    stored.chmod(0o644)
    stored.write_bytes(CANARY)


def _replace(stored: Path) -> None:
    content = stored.read_bytes()
    times = stored.stat()
    stored.unlink()
    stored.write_bytes(content[:-1] + b"X")
    os.utime(stored, ns=(times.st_atime_ns, times.st_mtime_ns))


def _swap_for_link(stored: Path) -> None:
    other = stored.with_name("other")
    other.write_bytes(CANARY)
    stored.unlink()
    stored.symlink_to(other)


@pytest.mark.parametrize("change", [_rewrite, _replace, _swap_for_link])
def test_J09_stored_file_that_changed_is_not_staged(site: Site, change: Callable[[Path], None]) -> None:
    record = site.run({"out/a.csv": TABLE})
    lower = site.high / "lower"
    assert stage_inputs([record], lower).files
    change(record.files / "out/a.csv")
    with pytest.raises(InputChanged):
        stage_inputs([record], lower)
    assert not (lower / "out/a.csv").exists()
    assert not holds(lower, CANARY)


def test_J09_stored_file_that_is_gone_is_missing(site: Site) -> None:
    record = site.run({"out/a.csv": TABLE})
    (record.files / "out/a.csv").unlink()
    with pytest.raises(InputMissing):
        stage_inputs([record], site.high / "lower")


def test_J09_failed_run_never_hides_behind_a_good_record(site: Site) -> None:
    good = site.run({"a.csv": TABLE})
    lied = replace(good, facts=replace(good.facts, exit_status=3))
    with pytest.raises(InputMissing):
        stage_inputs([lied], site.high / "lower")
