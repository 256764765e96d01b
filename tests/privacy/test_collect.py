import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from jobrunner.pipeline.patterns import PatternSet
from jobrunner.pipeline.suggestions import Comparisons
from jobrunner.privacy import alike, frames, names
from jobrunner.privacy.collect import (
    CollectLimits,
    CollectorFailed,
    OutputsMissing,
    OutputsRefused,
    Untouched,
    collect,
)
from jobrunner.privacy.confined_process import ConfinedProcess, Launcher
from jobrunner.privacy.conversation import Conversation
from jobrunner.privacy.runs import RunFolder
from tests.privacy.making import HIGH, IS_ROOT, JOB_UID, MODERATE, Site, collector, opened

pytestmark = pytest.mark.unit
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root to change the user")


def test_files_are_stored_with_hash_level_and_mode(site: Site) -> None:
    site.write({"out/a.csv": "x\n", "out/deep/b.bin": b"\x00" * 10, "other.txt": "no"})
    folder = site.folder()
    collection = site.collect([("out/*.csv", MODERATE), ("out/*/*.bin", HIGH)], into=folder)
    a, b = collection.files
    assert (a.path, a.level, a.size) == ("out/a.csv", MODERATE, 2)
    assert a.sha256 == "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac"
    assert (b.path, b.level, b.size) == ("out/deep/b.bin", HIGH, 10)
    assert a.stored == folder.files / "out/a.csv"
    found = a.stored.stat()
    assert stat.S_IMODE(found.st_mode) == 0o444
    assert found.st_uid == os.geteuid()
    assert (found.st_dev, found.st_ino, found.st_mtime_ns) == (a.device, a.inode, a.mtime_ns)
    assert not (folder.files / "other.txt").exists()


def test_a_dot_and_a_star_need_nothing_special(site: Site) -> None:
    site.write({".a.csv": "1", "~x/$HOME/.b": "2"})
    assert len(site.collect([("*.csv", HIGH), ("~x/$HOME/*", HIGH)]).files) == 2


def test_a_pattern_without_a_file_is_missing_with_look_alikes(site: Site) -> None:
    site.write({"out/Model.csv": "1", "out/b.csv": "2", "metadata/model.csv": "3"})
    with pytest.raises(OutputsMissing) as caught:
        site.collect([("out/model.csv", HIGH), ("out/b.csv", HIGH), ("metadata/*", HIGH)])
    assert caught.value.patterns == ("out/model.csv", "metadata/*")
    assert caught.value.alike["out/model.csv"][0] == "out/Model.csv"


def test_nothing_is_left_behind_when_an_output_is_missing(site: Site) -> None:
    site.write({"a.csv": "1"})
    folder = site.folder()
    with pytest.raises(OutputsMissing):
        site.collect([("a.csv", HIGH), ("b.csv", HIGH)], into=folder)
    assert list(folder.files.iterdir()) == []
    assert folder.log.read_text() == "started\n"


def test_a_changed_input_is_refused_only_where_a_pattern_matches_it(site: Site) -> None:
    site.write({"in.csv": "changed", "out.csv": "1"})
    with pytest.raises(OutputsRefused) as caught:
        site.collect([("*.csv", HIGH)], inputs=["in.csv"])
    assert caught.value.refused == (("in.csv", "it is an input, and the job changed it"),)
    assert [file.path for file in site.collect([("out.csv", HIGH)], inputs=["in.csv"]).files] == ["out.csv"]


def test_in_a_copy_what_is_untouched_is_no_output(site: Site) -> None:
    site.write({"study.csv": "study", "edited.csv": "study", "new.csv": "new"})
    untouched = {}
    for name in ("study.csv", "edited.csv"):
        found = (site.work / name).stat()
        untouched[name] = Untouched(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    (site.work / "edited.csv").write_text("by the job")
    with opened(site.work) as fd, collector() as walker:
        collection = collect(fd, [("*.csv", HIGH)], into=site.folder(), collector=walker, untouched=untouched)
    assert [file.path for file in collection.files] == ["edited.csv", "new.csv"]


@pytest.mark.slow
def test_the_patterns_of_the_longest_study_reach_the_collector(site: Site) -> None:
    # Each sign is two bytes of project.yaml, of which 5 MB are allowed, and six of JSON.
    patterns = [(f"out/{number}{'é' * 250}.csv", HIGH) for number in range(9_500)]
    with pytest.raises(OutputsMissing):
        site.collect(patterns)


@needs_root
def test_the_collector_cannot_read_what_the_job_could_not(site: Site) -> None:
    site.write({"a.csv": "1"})
    os.chown(site.work / "a.csv", 0, 0)
    (site.work / "a.csv").chmod(0o600)
    with pytest.raises(OutputsRefused) as caught:
        site.collect([("a.csv", HIGH)])
    assert caught.value.refused == (("a.csv", "it cannot be opened (EACCES)"),)
    os.chown(site.work / "a.csv", JOB_UID, JOB_UID)
    assert len(site.collect([("a.csv", HIGH)]).files) == 1


@needs_root
def test_the_collector_gives_up_every_right(site: Site) -> None:
    before = os.getgroups()
    os.setgroups([4242])
    launcher = Launcher()
    process = ConfinedProcess(launcher, "collector", [], uid=JOB_UID, gid=JOB_UID, timeout=10)
    os.setgroups(before)
    try:
        process.confirm()
        pid = process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        process.stop()
        launcher.stop()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["Uid"].split() == [str(JOB_UID)] * 4
    assert lines["Groups"].split() == []
    assert lines["NoNewPrivs"] == "1"
    assert int(lines["CapPrm"], 16) == int(lines["CapEff"], 16) == int(lines["CapInh"], 16) == 0
    assert environment == b""


@needs_root
def test_the_collector_never_runs_as_root(site: Site) -> None:
    site.write({"a.csv": "1"})
    with opened(site.work) as fd, collector(uid=0) as walker, pytest.raises(CollectorFailed):
        collect(fd, [("a.csv", HIGH)], into=site.folder(), collector=walker)


class LyingCollector:
    """Plays the collector's part over a real socket, and says what it is told to."""

    def __init__(
        self,
        site: Site,
        messages: Sequence[tuple[dict[str, str], Path | None]],
        patterns: Sequence[str] = ("out/*.csv",),
    ) -> None:
        self.site = site
        self.messages = messages
        self.patterns = patterns

    def talk(self) -> Conversation:
        ours, theirs = socket.socketpair()
        with ours, theirs, opened(self.site.work) as root:
            conversation = Conversation(
                root,
                PatternSet(self.patterns),
                {pattern: [HIGH] for pattern in self.patterns},
                self.site.folder(),
                frozenset(),
                {},
                CollectLimits(),
            )
            ours.settimeout(5)
            theirs.settimeout(5)
            thread = threading.Thread(target=self._speak, args=(theirs,))
            thread.start()
            try:
                conversation.run(ours)
            finally:
                ours.close()
                thread.join()
        return conversation

    def _speak(self, connection: socket.socket) -> None:
        try:
            self._lie(connection)
        except frames.BrokenConversation:
            return  # nobody listens any more

    def _lie(self, connection: socket.socket) -> None:
        frames.receive(connection)
        for message, path in self.messages:
            if path is None:
                frames.send(connection, message)
                continue
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            frames.send(connection, message, fd)
            os.close(fd)
        frames.send(connection, {"end": True})


def test_a_lying_collector_gets_nothing_stored(site: Site, tmp_path: Path) -> None:
    site.write({"out/a.csv": "own", "out/b.csv": "own", "else.csv": "own", "metadata/x.csv": "own"})
    victim = tmp_path / "victim"
    victim.write_text("CANARY")
    (site.work / "out/link.csv").symlink_to(victim)
    (tmp_path / "twin.csv").write_text("two names")
    os.link(tmp_path / "twin.csv", site.work / "out/hard.csv")
    out = site.work / "out"
    lies = [
        ({"file": "out/a.csv"}, victim),
        ({"file": "out/link.csv"}, victim),
        ({"file": "out/b.csv"}, out / "a.csv"),
        ({"file": "else.csv"}, site.work / "else.csv"),
        ({"file": "../victim"}, victim),
        ({"file": "metadata/x.csv"}, site.work / "metadata/x.csv"),
        ({"file": "out/hard.csv"}, out / "hard.csv"),
        ({"file": "out/none.csv"}, out / "a.csv"),
        ({"file": "out/dir.csv"}, out),
    ]
    state = LyingCollector(site, lies).talk().state
    assert state.files == []
    assert len(state.refused) == len(lies)


def _pipe(site: Site) -> Path:
    os.mkfifo(site.work / "out/pipe.csv")
    return site.work / "out/pipe.csv"


def _second_name(site: Site) -> Path:
    os.link(site.work / "out/a.csv", site.work / "out/hard.csv")
    return site.work / "out/hard.csv"


def _written(path: str) -> Callable[[Site], Path]:
    def write(site: Site) -> Path:
        site.write({path: "own"})
        return site.work / path

    return write


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_pipe, "regular"),
        (_second_name, "second name"),
        (_written("out/-rf.csv"), "begins with"),
        (_written("metadata/x.csv"), "metadata"),
        (_written("else.csv"), "pattern"),
    ],
    ids=["pipe", "second name", "name", "metadata", "pattern"],
)
def test_a_lie_that_one_check_alone_sees_stores_nothing(
    site: Site, make: Callable[[Site], Path], why: str
) -> None:
    site.write({"out/a.csv": "own"})
    told = make(site)
    lie = ({"file": told.relative_to(site.work).as_posix()}, told)
    state = LyingCollector(site, [lie], patterns=["*/*.csv"]).talk().state
    assert state.files == []
    ((_path, said),) = state.refused
    assert why in said


def test_a_file_of_another_file_system_is_refused(site: Site) -> None:
    if Path("/dev/shm").stat().st_dev == site.work.stat().st_dev:
        pytest.skip("needs a second file system")
    site.write({"out/a.csv": "own"})
    other = Path("/dev/shm") / f"jobrunner-test-{os.getpid()}"
    other.write_text("CANARY")
    try:
        state = LyingCollector(site, [({"file": "out/a.csv"}, other)]).talk().state
    finally:
        other.unlink()
    assert state.refused == [("out/a.csv", "it is on another file system")]


def test_the_same_conversation_without_a_lie_stores_the_file(site: Site) -> None:
    site.write({"out/a.csv": "own"})
    state = LyingCollector(site, [({"file": "out/a.csv"}, site.work / "out/a.csv")]).talk().state
    assert [file.path for file in state.files] == ["out/a.csv"]
    assert state.refused == []


def test_a_message_of_unknown_kind_ends_the_conversation(site: Site) -> None:
    with pytest.raises(frames.BrokenConversation):
        LyingCollector(site, [({"run": "something"}, None)]).talk()


def test_collecting_has_a_deadline(site: Site) -> None:
    site.write({f"{number}.csv": "1" for number in range(50)})
    with pytest.raises(OutputsRefused, match="longer than"):
        site.collect([("*.csv", HIGH)], limits=CollectLimits(seconds=0.5), into=_Slow(site.folder()))


class _Slow:
    """A run folder on a disk that takes a while."""

    def __init__(self, folder: object) -> None:
        self._folder = folder

    def __getattr__(self, name: str) -> object:
        if name == "files":
            threading.Event().wait(0.05)
        return getattr(self._folder, name)


def test_the_caps_are_those_of_the_specification() -> None:
    assert asdict(CollectLimits()) == {
        "depth": 32, "entries": 200_000, "files": 5_000, "total_bytes": 20 * 2**30, "seconds": 3600.0,
        "waiting_bytes": 64 * 2**20,
    }  # fmt: skip
    assert (names.PART_BYTES, names.PATH_BYTES) == (200, 512)


def test_O15_hints_about_missing_outputs_are_few_and_cost_little(site: Site) -> None:
    site.write({f"{'a' * 120}{number:03}.bin": "" for number in range(30)})
    patterns = [(f"{'a' * 119}{number:04}.csv", HIGH) for number in range(3_000)]
    with pytest.raises(OutputsMissing) as caught:
        site.collect(patterns)
    missing = caught.value
    assert len(missing.patterns) == 3_000
    assert len(missing.alike) == 20
    sentences = missing.sentences()
    assert len(sentences) == 41
    assert sentences[-1] == "And 2960 more patterns matched nothing."
    assert len(str(missing)) < 5_000


def test_O15_looking_for_what_was_meant_has_one_budget_for_all_patterns() -> None:
    left = []
    for patterns in (20, 4_000):
        comparisons = Comparisons(most_cost=10**9)
        wanted = [f"{'ab' * 50}{number:04}.csv" for number in range(patterns)]
        alike.look_alikes(wanted, [f"{'c' * 100}{number:05}.bin" for number in range(5_000)], comparisons)
        left.append(10**9 - comparisons.left)
    # 20 patterns, 500 paths, and each pair is told apart by its signs alone.
    assert left[0] == left[1] < 20 * 500 * 300
    spent = Comparisons(most_cost=0)
    found = alike.look_alikes(["out/model.csv"], ["out/modle.csv", "other/Model.csv"], spent)
    assert found == {"out/model.csv": ("other/Model.csv",)}
    assert alike.look_alikes(["out/model.csv"], ["out/modle.csv"]) == {"out/model.csv": ("out/modle.csv",)}


def test_O15_of_many_refusals_those_about_the_whole_folder_and_the_first_are_told() -> None:
    refused = [(f"{number}.csv", "it is odd") for number in range(300)]
    sentences = OutputsRefused([*refused, ("", "time is over")]).sentences()
    assert sentences[:2] == [
        "Output (all) was refused: time is over.",
        "Output `0.csv` was refused: it is odd.",
    ]
    assert len(sentences) == 41
    assert sentences[-1] == "And 261 more like these."
    assert OutputsMissing([], {}, [f"{number} is a link." for number in range(300)]).sentences()[40:] == [
        "And 260 more like these."
    ]


class Unwanted(Exception):
    pass


def test_P21_collecting_stops_between_files_and_in_the_middle_of_one(site: Site) -> None:
    calls = 0

    def until_the_fourth() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Unwanted

    def collected(folder: RunFolder) -> None:
        with opened(site.work) as root, collector() as walking:
            collect(root, [("*.bin", HIGH)], into=folder, collector=walking, still_wanted=until_the_fourth)

    site.write({"big.bin": b"x" * (5 << 20)})
    folder = site.folder()
    with pytest.raises(Unwanted):
        collected(folder)
    assert list(folder.files.iterdir()) == []
    site.write({"big.bin": b"x"})
    collected(site.folder())


@pytest.mark.slow
def test_P21_who_waits_for_a_silent_process_can_be_stopped() -> None:
    def unwanted() -> None:
        raise Unwanted

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(1.2)
        with pytest.raises(Unwanted):
            frames.receive(ours, unwanted)
        with pytest.raises(frames.BrokenConversation, match="silent"):
            frames.receive(ours, lambda: None)
        frames.send(theirs, {"a": 1})
        assert frames.receive(ours, unwanted) == ({"a": 1}, None)


@pytest.mark.parametrize("count", [7, 8, 15, 16, 17, 33])
def test_many_files_are_all_handed_over(site: Site, count: int) -> None:
    names = [f"out/{number:02}.csv" for number in range(count)]
    site.write({name: f"{name}\n" for name in names})
    collection = site.collect([("out/*.csv", MODERATE)])
    assert [file.path for file in collection.files] == names


def test_a_cap_that_is_reached_among_many_files_is_told(site: Site) -> None:
    site.write({f"out/{number:02}.csv": "x" for number in range(30)})
    with pytest.raises(OutputsRefused, match="more than 29 files match"):
        site.collect([("out/*.csv", MODERATE)], limits=CollectLimits(files=29))
