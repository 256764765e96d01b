import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from jobrunner.privacy import manifest
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.outputs import OutputsRefused
from jobrunner.privacy.records import RunRecord
from tests.privacy.making import HIGH, MODERATE, Site, holds, job_id

pytestmark = pytest.mark.unit
TABLE = "group,n\na,10\nb,25\n"
ROWS = "patient_id,x\n1,2\n"
WORKSPACE = "prj-main-0a1b2c3d"


def test_the_manifest_has_exactly_the_fields_that_site_tools_know(site: Site) -> None:
    record = site.run({"out/t.csv": TABLE})
    assert site.publish(record)
    written = json.loads((site.high / "workspaces" / WORKSPACE / "metadata/manifest.json").read_bytes())
    assert set(written) == {"workspace", "repo", "project", "backend", "outputs", "actions"}
    assert written["outputs"]["out/t.csv"] == {
        "level": MODERATE,
        "job_id": job_id(),
        "job_request": "r" * 26,
        "action": "model",
        "commit": "0" * 40,
        "repo": "https://example.org/study",
        "size": len(TABLE),
        "timestamp": 1_700_000_100,
        "content_hash": record.outputs[0].sha256,
        "excluded": False,
        "message": None,
        "row_count": 2,
        "col_count": 2,
        "user": "",
    }
    assert written["actions"]["model"]["attempt"] == 1


def test_the_two_areas(site: Site) -> None:
    files = {"t.csv": TABLE, "rows.csv": ROWS, "data.bin": b"\x00SECRET", "page.html": "<!doctype html><p>x"}
    record = site.run(files, levels={"data.bin": HIGH}, log="line\n")
    site.publish(record)
    assert site.view(site.high) == {
        **{
            path: content if isinstance(content, bytes) else content.encode()
            for path, content in files.items()
        },
        "metadata/model.log": b"line\n",
    }
    medium = site.view(site.medium)
    assert set(medium) == {"t.csv", "rows.csv.txt", "page.html.txt", "metadata/model.log"}
    assert b"SDC021" in medium["rows.csv.txt"]
    assert b"cannot be shown safely" in medium["page.html.txt"]
    assert not holds(site.medium, b"SECRET")
    assert not holds(site.medium, b"data.bin")
    assert os.path.samestat(
        (site.high / "workspaces" / WORKSPACE / "t.csv").stat(), (record.files / "t.csv").stat()
    )


def test_a_notice_gives_way_to_an_output_of_its_name(site: Site) -> None:
    site.publish(site.run({"rows.csv": ROWS, "rows.csv.txt": "mine"}))
    medium = site.view(site.medium)
    assert medium["rows.csv.txt"] == b"mine"
    assert b"SDC021" in medium["rows.csv.2.txt"]


def test_a_notice_tells_nothing_of_a_highly_sensitive_output(site: Site) -> None:
    levels = {"rows.csv.txt": HIGH, "rows.csv.2.txt": HIGH}
    site.publish(
        site.run({"rows.csv": ROWS, "rows.csv.txt": "mine", "rows.csv.2.txt": "mine"}, levels=levels)
    )
    assert set(site.view(site.medium)) == {"rows.csv.txt", "metadata/model.log"}


def test_a_file_in_place_of_a_folder_of_a_dropped_action_replaces_all_of_it(site: Site) -> None:
    site.publish(site.run({"out/a.csv": TABLE, "out/b.csv": TABLE}, action="gone"))
    site.publish(site.run({"out": TABLE.encode()}, level=HIGH, action="new", job="b"), actions=["new"])
    found = site.areas.manifest(WORKSPACE)
    assert found is not None
    assert set(found["outputs"]) == {"out"}
    assert "out" in site.view(site.high)


def test_an_older_manifest_with_outputs_that_collide_can_be_published_over(site: Site) -> None:
    site.publish(site.run({"out/rows.csv": ROWS}, action="gone", finished=1_700_000_000))
    site.publish(site.run({"x": TABLE}, level=HIGH, action="new", job="b"))
    place = site.high / "workspaces" / WORKSPACE / "metadata/manifest.json"
    older = json.loads(place.read_bytes())
    older["outputs"]["out"] = older["outputs"].pop("x")
    place.unlink()
    place.write_text(json.dumps(older))
    assert site.publish(site.run({"y.csv": TABLE}, action="third", job="c"))
    found = site.areas.manifest(WORKSPACE)
    assert found is not None
    assert set(found["outputs"]) == {"out", "y.csv"}


def test_a_log_that_may_not_be_shown_is_replaced_by_a_notice(site: Site) -> None:
    site.publish(site.run({"t.csv": TABLE}, log="x\x00CANARY\n"))
    assert set(site.view(site.medium)) == {"t.csv", "metadata/model.log.txt"}
    assert not holds(site.medium, b"CANARY")


def test_only_the_end_of_a_long_log_is_shown(site: Site) -> None:
    line = "progress of the program so far\n"
    log = "FIRST\n" + line * (1024 * 1024 // len(line) + 10) + "LAST\n"
    site.publish(site.run({"t.csv": TABLE}, log=log))
    shown = site.view(site.medium)["metadata/model.log"]
    assert shown.startswith(line.encode())
    assert shown.endswith(b"LAST\n")
    assert len(shown) <= 1024 * 1024
    assert site.view(site.high)["metadata/model.log"] == log.encode()


def test_files_that_are_no_longer_produced_leave_the_view(site: Site) -> None:
    site.publish(site.run({"old/deep/a.csv": TABLE, "b.csv": TABLE}))
    site.publish(site.run({"b.csv": TABLE + "c,30\n"}, job="b"))
    for area in (site.high, site.medium):
        assert set(site.view(area)) == {"b.csv", "metadata/model.log"}
        assert not (area / "workspaces" / WORKSPACE / "old").exists()
    assert (site.high / "runs" / job_id() / "1/files/old/deep/a.csv").exists()


def test_a_folder_can_become_a_file_and_back(site: Site) -> None:
    site.publish(site.run({"out/a.csv": TABLE}))
    site.publish(site.run({"out": b"1"}, level=HIGH, job="b"))
    assert set(site.view(site.high)) == {"out", "metadata/model.log"}
    site.publish(site.run({"out/a.csv": TABLE}, job="c"))
    assert set(site.view(site.high)) == set(site.view(site.medium)) == {"out/a.csv", "metadata/model.log"}


def test_publishing_twice_changes_nothing(site: Site) -> None:
    record = site.run({"t.csv": TABLE, "rows.csv": ROWS})
    site.publish(record)
    before = site.areas.manifest(WORKSPACE), site.view(site.high), site.view(site.medium)
    assert site.publish(record)
    assert (site.areas.manifest(WORKSPACE), site.view(site.high), site.view(site.medium)) == before


def test_other_actions_and_workspaces_are_left_alone(site: Site) -> None:
    site.publish(site.run({"one.csv": TABLE}, action="one"))
    site.publish(site.run({"two.csv": ROWS}, action="two", job="b"))
    site.publish(site.run({"three.csv": TABLE}, action="one", job="c", workspace="prj-dev-00000000"))
    site.publish(site.run({"one.csv": TABLE + "c,30\n"}, action="one", job="d"))
    assert set(site.view(site.medium)) == {
        *("one.csv", "two.csv.txt", "metadata/one.log", "metadata/two.log"),
    }
    assert set(site.view(site.high, "prj-dev-00000000")) == {"three.csv", "metadata/one.log"}


def test_actions_that_finish_together_are_all_in_the_manifest(site: Site) -> None:
    letters = "abcdefgh"
    records = [
        site.run({f"{letter}/t.csv": TABLE}, action=letter, job=letter, level=MODERATE) for letter in letters
    ]
    together = Barrier(len(records))

    def publish(record: RunRecord) -> bool:
        together.wait()
        return site.publish(record, actions=letters)

    with ThreadPoolExecutor(len(records)) as threads:
        assert all(threads.map(publish, records))
    found = site.areas.manifest(WORKSPACE)
    assert found is not None
    assert set(found["outputs"]) == {f"{letter}/t.csv" for letter in letters}
    assert set(found["actions"]) == set(letters)
    files = {f"{letter}/t.csv" for letter in letters} | {f"metadata/{letter}.log" for letter in letters}
    assert set(site.view(site.medium)) == files
    assert set(site.view(site.high)) == files


def test_the_current_run_is_the_one_to_pin(site: Site) -> None:
    first = site.run({"t.csv": TABLE})
    assert site.areas.current_run(WORKSPACE, "model") is None
    site.publish(first)
    second = site.run({"t.csv": TABLE}, job="b")
    assert site.areas.current_run(WORKSPACE, "model") == first
    site.publish(second)
    assert site.areas.current_run(WORKSPACE, "model") == second
    assert site.areas.current_run(WORKSPACE, "other") is None


def test_a_renamed_action_takes_over_its_files(site: Site) -> None:
    site.publish(site.run({"t.csv": TABLE}, action="old"))
    renamed = site.run({"t.csv": TABLE}, action="new", job="b")
    with pytest.raises(OutputsRefused):
        site.publish(renamed)
    with pytest.raises(OutputsRefused):
        site.publish(renamed, actions=["old", "new"])
    assert site.publish(renamed, actions=["new"])
    current = site.areas.manifest(WORKSPACE)
    assert current is not None
    assert current["outputs"]["t.csv"]["action"] == "new"


@pytest.mark.parametrize("workspace", ["", "../x", "A", "a/b", "-a", "a" * 129])
def test_a_workspace_name_is_checked(site: Site, workspace: str) -> None:
    record = site.run({"t.csv": TABLE}, workspace=workspace)
    with pytest.raises(ValueError):
        site.publish(record)
    with pytest.raises(ValueError):
        site.areas.manifest(workspace)


@pytest.mark.parametrize("action", ["", "../x", "a/b", "-a", "a..b", ".a", "a" * 129])
def test_an_action_id_is_checked(site: Site, action: str) -> None:
    with pytest.raises(ValueError):
        site.publish(site.run({"t.csv": TABLE}, action=action))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_nothing_is_published_over_a_broken_manifest(site: Site, content: bytes) -> None:
    site.publish(site.run({"t.csv": TABLE}))
    place = site.high / "workspaces" / WORKSPACE / "metadata/manifest.json"
    place.unlink()
    place.write_bytes(content)
    with pytest.raises(manifest.ManifestBroken):
        site.publish(site.run({"t.csv": TABLE}, job="b"))
    assert place.read_bytes() == content


def test_a_medium_area_on_another_file_system_gets_copies(site: Site) -> None:
    shm = Path("/dev/shm")
    if shm.stat().st_dev == site.high.stat().st_dev:
        pytest.skip("needs a second file system")
    medium = shm / f"jobrunner-areas-{os.getpid()}"
    medium.mkdir()
    try:
        areas = Areas(site.high, medium)
        for _time in range(2):
            record = site.run({"t.csv": TABLE, "rows.csv": ROWS}, job="ab"[_time])
            areas.publish(record, backend="test")
            assert set(site.view(medium)) == {"t.csv", "rows.csv.txt", "metadata/model.log"}
    finally:
        for path in sorted(medium.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        medium.rmdir()


_STEPS = {"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}


def in_child_killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that gets SIGKILL before its `step`-th change. True when it was killed."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            opens_to_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            if event in _STEPS or opens_to_write:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def require_whole(view: Path, since: str) -> None:
    """Where the manifest names the new run, every file that it names is there with its bytes."""
    told = manifest.load((view / "metadata/manifest.json").read_bytes())
    if told["actions"]["model"]["job_id"] == since:
        for path, entry in told["outputs"].items():
            assert hashlib.sha256((view / path).read_bytes()).hexdigest() == entry["content_hash"]


@pytest.mark.slow
def test_a_kill_at_every_step_leaves_the_old_or_the_new_whole(site: Site) -> None:
    old = site.run({"a.csv": TABLE, "sub/gone.csv": TABLE, "rows.csv": ROWS}, level=MODERATE)
    new = site.run({"a.csv": TABLE + "c,30\n", "sub2/new.csv": TABLE, "rows.csv": TABLE}, job="b")
    other = site.run({"o.csv": TABLE}, job="c", action="other")
    step = 1
    outcomes = set()
    while True:
        areas = Areas(site.high, site.root / f"medium{step}")
        mine = replace(new, facts=replace(new.facts, workspace=f"w{step}"))
        areas.publish(replace(old, facts=replace(old.facts, workspace=f"w{step}")), backend="test")
        areas.publish(replace(other, facts=replace(other.facts, workspace=f"w{step}")), backend="test")
        before = areas.manifest(f"w{step}")
        killed = in_child_killed_at(step, lambda a=areas, m=mine: a.publish(m, backend="test"))
        after = areas.manifest(f"w{step}")
        assert after is not None
        outcomes.add("old" if after == before else "new")
        assert after["actions"]["model"]["job_id"] in (job_id("a"), job_id("b"))
        for area in (areas.high, areas.medium):
            require_whole(area / "workspaces" / f"w{step}", since=job_id("b"))
        assert areas.publish(mine, backend="test")
        assert set(site.view(site.high, f"w{step}")) == {
            *("a.csv", "sub2/new.csv", "rows.csv", "o.csv", "metadata/model.log", "metadata/other.log"),
        }
        assert set(site.view(areas.medium, f"w{step}")) == set(site.view(site.high, f"w{step}"))
        for path, entry in (areas.manifest(f"w{step}") or {})["outputs"].items():
            content = site.view(site.high, f"w{step}")[path]
            assert len(content) == entry["size"]
        if not killed:
            break
        step += 1
    assert step > 15
    assert outcomes == {"old", "new"}


def test_a_reader_during_publish_sees_one_manifest_whole(site: Site) -> None:
    records = [
        site.run({f"{letter}{number}.csv": TABLE for number in range(20)}, job=letter) for letter in "ab"
    ]
    site.publish(records[0])
    places = [area / "workspaces" / WORKSPACE / "metadata/manifest.json" for area in (site.high, site.medium)]
    writer = os.fork()
    if writer == 0:
        try:
            for number in range(20):
                site.publish(records[(number + 1) % 2])
            os._exit(0)
        finally:
            os._exit(1)
    status = None
    reads = 0
    seen = set()
    while status is None:
        for place in places:
            outputs = manifest.load(place.read_bytes())["outputs"]
            letters = {path[0] for path in outputs}
            assert len(outputs) == 20
            assert len(letters) == 1
            seen |= letters
            reads += 1
        pid, result = os.waitpid(writer, os.WNOHANG)
        status = result if pid else None
    assert status == 0
    assert reads > 20
    assert seen == {"a", "b"}


def test_require_free_asks_before_anything_is_recorded(site: Site) -> None:
    site.publish(site.run({"out/t.csv": TABLE}))
    areas = site.areas
    areas.require_free(WORKSPACE, "model", ["out/t.csv"])
    areas.require_free(WORKSPACE, "other", ["out/u.csv"])
    for path in ("out/t.csv", "OUT/T.csv", "out", "out/t.csv/x"):
        with pytest.raises(OutputsRefused):
            areas.require_free(WORKSPACE, "other", [path])
