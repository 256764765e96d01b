"""Attacks around an embedded database file (threats.md sections 2 and 3, rows S06, S07, S11, S13, S17)."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobrunner.executors import database_view, mounts
from jobrunner.executors.base import ActionRun, SandboxRefused
from jobrunner.executors.database import Database
from jobrunner.executors.docker import DockerExecutor
from tests.fixtures import mountinfo
from tests.fixtures.canary_runs import AGENT, finish, run_to_end, run_weakened
from tests.fixtures.database_files import ROWS, make_database
from tests.fixtures.engine_proxy import EngineProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

Canary = Callable[..., ActionRun]
INSIDE = "/jobrunner/database"
KINDS = ("sqlite", "duckdb")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A SQLite file in a folder whose name no job may learn."""
    return make_database(tmp_path / "tell-nobody")


def state(path: Path) -> tuple[int, int, int, int, bytes, list[str]]:
    """Owner, mode, links, time and bytes of a file, and the names beside it."""
    info = path.stat()
    beside = sorted(one.name for one in path.parent.iterdir())
    return info.st_uid, stat.S_IMODE(info.st_mode), info.st_nlink, info.st_mtime_ns, path.read_bytes(), beside


def test_S13_a_plain_action_finds_no_database(
    executor: DockerExecutor, canary: Canary, database: Database
) -> None:
    # Beside a neighbour that has it.
    neighbour = canary("sleep", "20", database=database)
    executor.prepare(neighbour)
    executor.start(neighbour)
    seen = run_to_end(executor, canary("snapshot")).json
    assert not any(entry.startswith("DATABASE_URL") for entry in seen["environment"])
    assert "/jobrunner" not in seen["mountinfo"]
    assert neighbour.name not in seen["mountinfo"]
    places = (INSIDE, "/jobrunner")
    assert run_to_end(executor, canary("show", *places)).json == dict.fromkeys(places, "ENOENT")


@pytest.mark.parametrize("kind", KINDS)
def test_S13_twin_a_database_action_finds_it(
    executor: DockerExecutor, canary: Canary, tmp_path: Path, kind: Any
) -> None:
    made = make_database(tmp_path / "data", kind)
    seen = run_to_end(executor, canary("snapshot", database=made)).json
    assert f"DATABASE_URL={kind}:///{INSIDE}" in seen["environment"]
    assert INSIDE in seen["mountinfo"]
    magic = {"sqlite": "SQLite format 3", "duckdb": ""}[kind]
    assert run_to_end(executor, canary("show", INSIDE, database=made)).json[INSIDE].startswith(magic)


def test_S13_a_database_action_reads_its_rows(
    executor: DockerExecutor, canary: Canary, database: Database, python_v2_image: str
) -> None:
    query = (
        "import os, sqlite3;"
        "path = os.environ['DATABASE_URL'].removeprefix('sqlite:///');"
        "db = sqlite3.connect(f'file:{path}?mode=ro', uri=True);"
        "print(db.execute('SELECT * FROM patients ORDER BY id').fetchall())"
    )
    run = canary("-c", query, database=database, image_id=python_v2_image, entrypoint=("python3",))
    ended = run_to_end(executor, run)
    assert ended.log.decode().strip() == str(list(ROWS))
    assert ended.exit.status == 0


def test_S13_two_jobs_read_a_duckdb_file_at_once(
    executor: DockerExecutor, canary: Canary, tmp_path: Path
) -> None:
    made = make_database(tmp_path / "data", "duckdb")
    for run in (canary("sleep", "1", database=made), canary("sleep", "1", database=made)):
        executor.prepare(run)
        seen = tmp_path / "work" / "attempts" / run.name / "database" / "seen" / "database"
        with duckdb.connect(str(seen), read_only=True) as connection:
            assert connection.execute("SELECT * FROM patients ORDER BY id").fetchall() == list(ROWS)


WAYS = (
    "chmod_open", "open_write", "open_truncate", "chmod", "chown", "times", "truncate", "-wal", "-journal",
    "-shm", ".wal", "link", "unlink", "rename",
)  # fmt: skip
REFUSALS = dict.fromkeys(WAYS, "EROFS") | {"make": "EEXIST"}


@pytest.mark.parametrize("kind", KINDS)
def test_S13_the_database_cannot_be_changed(
    executor: DockerExecutor, canary: Canary, tmp_path: Path, kind: Any
) -> None:
    made = make_database(tmp_path / "data", kind)
    before = state(made.path)
    run = canary("spoil", INSIDE, database=made)
    assert run_to_end(executor, run).json == {"read": "ok"} | REFUSALS
    executor.clean_up(run)
    assert state(made.path) == before


def test_S13_twin_a_writable_folder_loses_it(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any
) -> None:
    run = canary("spoil", INSIDE)
    for path in (database.path, database.path.parent):
        os.chown(path, run.uid, run.gid)
    mount = {"Type": "bind", "Source": str(database.path.parent), "Target": "/jobrunner"}
    database.path.rename(database.path.with_name("database"))
    said = run_weakened(engine, executor, run, {"Mounts": [mount]}).json
    # A file of mode 0444 opens for writing once its owner has changed that.
    assert set(said.values()) == {"ok"}


def test_S06_the_job_does_not_learn_where_the_database_lies(
    executor: DockerExecutor, canary: Canary, database: Database, tmp_path: Path
) -> None:
    run = canary("snapshot", database=database)
    seen = run_to_end(executor, run)
    assert b"tell-nobody" not in seen.log
    assert database.path.name.encode() not in seen.log
    line = next(line for line in seen.json["mountinfo"].splitlines() if f" {INSIDE} " in line)
    mount, overlay = line.split(" - ")
    assert "ro" in mount.split()[5].split(",")
    assert "ro" in overlay.split()[2].split(",")
    assert run.name in line
    assert run.agent_id not in line.replace(str(tmp_path), "")


def started(executor: DockerExecutor, run: ActionRun) -> ActionRun:
    executor.prepare(run)
    executor.start(run)
    return run


NOTHING_HEARD = {
    "watch": "ok", "state": "listening", "flock": "ok", "range": "ok", "start": 0, "opened": "EAGAIN",
}  # fmt: skip


def test_S07_two_jobs_cannot_talk_through_the_file(
    executor: DockerExecutor, canary: Canary, database: Database
) -> None:
    listener = started(executor, canary("overhear", INSIDE, "3", database=database))
    speaker = started(executor, canary("lock", INSIDE, "6", database=database))
    assert finish(executor, listener).json == NOTHING_HEARD
    assert speaker.name in {found.name for found in executor.find(AGENT) if found.running}
    assert finish(executor, speaker).json == {"flock": "ok", "range": "ok"}


def test_S07_twin_on_one_inode_they_can(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any
) -> None:
    mount = {"Type": "bind", "Source": str(database.path), "Target": INSIDE, "ReadOnly": True}
    speaker = canary("lock", INSIDE, "5")
    listener = canary("overhear", INSIDE, "3")
    with ThreadPoolExecutor(2) as both:
        heard = both.submit(run_weakened, engine, executor, listener, {"Mounts": [mount]})
        time.sleep(1)
        said = both.submit(run_weakened, engine, executor, speaker, {"Mounts": [mount]})
        assert said.result().json == {"flock": "ok", "range": "ok"}
        assert heard.result().json == NOTHING_HEARD | {"flock": "EAGAIN", "start": 123456, "opened": "ok"}


def test_S13_a_file_that_others_can_change_is_not_mounted(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any, tmp_path: Path
) -> None:
    database.path.chmod(0o466)
    run = canary("exit", "0", database=database)
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(run)
    assert refused.value.detail == "database"
    executor.clean_up(run)
    assert leftovers(engine, tmp_path, run) == []
    database.path.chmod(0o444)
    assert run_to_end(executor, run).exit.status == 0


@pytest.mark.parametrize("what", ["missing", "link", "folder", "written"])
def test_S13_what_is_not_the_file_is_not_mounted(
    executor: DockerExecutor, canary: Canary, database: Database, what: str
) -> None:
    if what == "written":
        Path(f"{database.path}-journal").touch()
    else:
        database.path.rename(database.path.with_name("real"))
    if what == "link":
        database.path.symlink_to("real")
    if what == "folder":
        database.path.mkdir()
    with pytest.raises(SandboxRefused) as refused:
        executor.prepare(canary("exit", "0", database=database))
    assert refused.value.detail == "database"


def leftovers(engine: Any, tmp_path: Path, run: ActionRun) -> list[str]:
    """What is still there of an attempt: container, mounts, files."""
    found = [str(one["Names"]) for one in engine.containers(all=True, filters={"name": run.name})]
    found += [mount.point for mount in mountinfo.mounts() if run.name in f"{mount.point}{mount.options}"]
    return found + [str(path) for path in (tmp_path / "work").rglob(f"*{run.name}*")]


def test_S17_an_ended_attempt_leaves_no_link(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any, tmp_path: Path
) -> None:
    before = state(database.path)
    run = canary("show", INSIDE, database=database)
    run_to_end(executor, run)
    assert database.path.stat().st_nlink == 2
    seen = database_view.file_of(view(tmp_path, run)).parent
    assert mounts.is_mounted(seen)
    for flag in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC):
        assert os.statvfs(seen).f_flag & flag
    for _again in range(2):
        executor.clean_up(run)
        assert leftovers(engine, tmp_path, run) == []
    assert state(database.path) == before


def view(tmp_path: Path, run: ActionRun) -> Path:
    return tmp_path / "work" / "attempts" / run.name / "database"


def test_S17_a_database_that_was_replaced_is_still_cleaned_up(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any, tmp_path: Path
) -> None:
    run = started(executor, canary("sleep", "20", database=database))
    newer = make_database(database.path.parent / "newer")
    newer.path.rename(database.path)
    # As an agent that was killed does: the view is of the file that is meant now, the container goes on.
    executor.prepare(run)
    executor.start(run)
    assert database_view.file_of(view(tmp_path, run)).stat().st_ino == database.path.stat().st_ino
    executor.stop(run)
    executor.clean_up(run)
    assert leftovers(engine, tmp_path, run) == []
    assert database.path.stat().st_nlink == 1


KILLED_AGENT = """
import os, pathlib, signal, sys
from jobrunner.executors import mounts
from jobrunner.executors.base import ActionRun, Limits
from jobrunner.executors.database import Database
from jobrunner.executors.docker import DockerExecutor
work, name, image, tree, uid, agent, file, at = sys.argv[1:]
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
run = ActionRun(agent_id=agent, job_id=name, attempt=1, image_id=image, entrypoint=("/canary",),
    argv=("sleep", "50"), uid=int(uid), gid=int(uid), tree=pathlib.Path(tree),
    limits=Limits(disk=64 << 20, inodes=2000, memory=256 << 20),
    database=Database("sqlite", pathlib.Path(file)))
executor = DockerExecutor(pathlib.Path(work))
if at == "link":
    os.link = die
if at == "mount":
    mounts.mount_layers = die
executor.prepare(run)
executor.start(run)
die()
"""


@pytest.mark.parametrize("at", ["link", "mount", "started"])
def test_S17_a_killed_agent_leaves_no_link(
    executor: DockerExecutor, canary: Canary, database: Database, engine: Any, at: str, tmp_path: Path
) -> None:
    before = state(database.path)
    run = canary("exit", "0", database=database)
    words = [str(tmp_path / "work"), run.job_id, run.image_id, str(run.tree), str(run.uid), AGENT]
    killed = subprocess.run([sys.executable, "-c", KILLED_AGENT, *words, str(database.path), at], check=False)
    assert killed.returncode == -signal.SIGKILL
    if at != "started":
        # An agent that goes on with it makes it whole.
        assert run_to_end(executor, run).exit.status == 0
    assert executor.sweep(AGENT, keep=()) == [run.name]
    assert leftovers(engine, tmp_path, run) == []
    assert state(database.path) == before


def bind(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["HostConfig"]["Mounts"][1]
    return found


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "writable": lambda body: bind(body).pop("ReadOnly"),
    "another_place": lambda body: bind(body).update(Target="/elsewhere"),
    "the_whole_folder": lambda body: bind(body).update(Source=str(Path(bind(body)["Source"]).parent)),
    "shared": lambda body: bind(body).pop("BindOptions"),
    "none": lambda body: body["HostConfig"]["Mounts"].pop(),
    "another_url": lambda body: body["Env"].append("DATABASE_URL=sqlite:////other"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_S11_engine_that_mounts_the_database_otherwise(
    proxied: tuple[DockerExecutor, EngineProxy], canary: Canary, database: Database, engine: Any, change: str
) -> None:
    executor, proxy = proxied
    proxy.change_create = CHANGES[change]
    run = canary("exit", "0", database=database)
    with pytest.raises(SandboxRefused) as refused:
        run_to_end(executor, run)
    assert refused.value.detail == "sandbox"
    assert not any(call.endswith("/start") for call in proxy.calls)
    assert engine.containers(all=True, filters={"name": run.name}) == []
    proxy.change_create = None
    executor.start(run)
    assert executor.wait(run).status == 0
