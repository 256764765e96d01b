"""P17 for [database]: the agent does not start with a database that it could not hand out safely."""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.policy import PolicyProblem, Site, load_site
from jobrunner.executors.database import Database
from tests.agent.policies import IMAGE_ID, write_site
from tests.fixtures.database_files import make_database

pytestmark = pytest.mark.unit

OTHER_ID = "sha256:" + "2" * 64
MakeSite = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_database(tmp_path / "data").path


@pytest.fixture
def make_site(site_folder: Path, file: Path) -> MakeSite:
    """Write a policy with a database; `changes` replace its values, None takes one away."""

    def make(changes: dict[str, Any] | None = None, **others: Any) -> Path:
        values = {"dataset": "flchain", "kind": "sqlite", "file": str(file), "images": {IMAGE_ID: "any"}}
        values |= changes or {}
        database = {name: value for name, value in values.items() if value is not None}
        return write_site(site_folder, database=database, **others)

    return make


def problem(place: Path) -> str:
    with pytest.raises(PolicyProblem) as caught:
        load_site(place)
    return str(caught.value)


def test_a_site_without_a_database(site_folder: Path) -> None:
    site = load_site(write_site(site_folder))
    assert (site.database, site.database_slots, site.policy.database) == (None, 0, None)


def test_a_good_database(make_site: MakeSite, file: Path) -> None:
    site = load_site(make_site({"slots": 2, "images": {IMAGE_ID: ["rows.sql"]}}, limits__slots=2))
    assert site.database == Database("sqlite", file)
    assert site.database_slots == 2
    assert site.policy.database is not None
    assert (site.policy.database.dataset, site.policy.database.public) == ("flchain", False)
    assert site.policy.database.images == {IMAGE_ID: ("rows.sql",)}


def test_the_file_is_named_from_the_folder_of_the_policy(make_site: MakeSite, site_folder: Path) -> None:
    make_database(site_folder / "data", "duckdb", "rows.db")
    site = load_site(make_site({"kind": "duckdb", "file": "data/rows.db"}))
    assert site.database == Database("duckdb", site_folder / "data" / "rows.db")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"dataset": None}, "database.dataset"),
        ({"dataset": "FL chain"}, "database.dataset"),
        ({"kind": None}, "database.kind"),
        ({"kind": "postgresql"}, "database.kind"),
        ({"file": None}, "database.file"),
        ({"file": ""}, "database.file"),
        ({"file": "a\0b"}, "database.file"),
        ({"file": "missing.sqlite"}, "database.file"),
        ({"public": "yes"}, "database.public"),
        ({"slots": 0}, "database.slots"),
        ({"slots": 65}, "database.slots"),
        ({"slots": 2}, "database.slots"),
        ({"images": None}, "database.images"),
        ({"images": {}}, "database.images"),
        ({"images": {OTHER_ID: "any"}}, "database.images"),
        ({"images": {"python:v2": "any"}}, "database.images"),
        ({"images": {IMAGE_ID: "all"}}, f"database.images.{IMAGE_ID}"),
        ({"images": {IMAGE_ID: []}}, f"database.images.{IMAGE_ID}"),
        ({"images": {IMAGE_ID: [1]}}, f"database.images.{IMAGE_ID}"),
        ({"password": "x"}, "database.password"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(
    make_site: MakeSite, changes: dict[str, Any], setting: str
) -> None:
    said = problem(make_site(changes, limits__slots=1))
    assert f"{setting}:" in said or f"{setting}." in said


HTTP = [
    {"controller__url": "http://127.0.0.1:8000"},
    {"git__allowed": ["https://git.example/org", "http://127.0.0.1:8000/org"]},
]


@pytest.mark.parametrize("others", HTTP)
@pytest.mark.parametrize("mode", ["dev", "test"])
def test_only_a_public_database_goes_with_http(
    make_site: MakeSite, mode: str, others: dict[str, Any]
) -> None:
    assert "database.public:" in problem(make_site(mode=mode, **others))
    assert "database.public:" in problem(make_site({"public": False}, mode=mode, **others))
    assert load_site(make_site({"public": True}, mode=mode, **others)).database is not None
    assert load_site(make_site(mode=mode)).database is not None


def replaced_by(file: Path, make: Callable[[Path], object]) -> None:
    file.rename(file.with_name("moved"))
    make(file)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda file: file.unlink(), "cannot be read"),
    "folder": (lambda file: replaced_by(file, lambda p: p.mkdir()), "no regular file"),
    "fifo": (lambda file: replaced_by(file, lambda p: os.mkfifo(p, 0o444)), "no regular file"),
    "link": (lambda file: replaced_by(file, lambda p: p.symlink_to("moved")), "is a link"),
    "group_writes": (lambda file: file.chmod(0o464), "chmod it to 0444"),
    "others_write": (lambda file: file.chmod(0o446), "chmod it to 0444"),
    "private": (lambda file: file.chmod(0o400), "chmod it to 0444, and keep people out by its folder"),
    "of_another": (lambda file: os.chown(file, 200_000, 200_000), "chown it to root"),
    "empty": (lambda file: os.truncate(file, 0), "no SQLite file"),
    "text": (lambda file: file.write_text("SQLite format 4\0" + "x" * 100), "no SQLite file"),
    "log_beside": (lambda file: Path(f"{file}-wal").touch(), "-wal lies beside it"),
    "journal_beside": (lambda file: Path(f"{file}-journal").touch(), "-journal lies beside it"),
    "shared_folder": (lambda file: file.parent.chmod(0o770), "replace the file"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_file_that_cannot_be_handed_out(make_site: MakeSite, file: Path, what: str) -> None:
    place = make_site()
    load_site(place)
    spoil, words = SPOILED[what]
    if what == "of_another" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    spoil(file)
    said = problem(place)
    assert said.startswith("database.file: ")
    assert words in said
    assert said.endswith(".")


def test_a_file_that_everybody_on_the_machine_can_read(make_site: MakeSite) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inner = make_database(Path(folder) / "inner")
        inner.path.parent.chmod(0o755)
        place = make_site({"file": str(inner.path)}, folders__cache=f"{folder}/cache")
        load_site(place)  # the outer folder is closed
        Path(folder).chmod(0o755)
        said = problem(place)
        assert "everybody on this machine can read" in said
        assert "to 0700" in said
        load_site(make_site({"file": str(inner.path), "public": True}, folders__cache=f"{folder}/cache"))


def test_everybody_may_read_a_public_database(make_site: MakeSite, file: Path) -> None:
    file.parent.chmod(0o755)
    for mode in (0o444, 0o644, 0o555):
        file.chmod(mode)
        load_site(make_site({"public": True}))


@pytest.mark.parametrize(("kind", "other"), [("sqlite", "duckdb"), ("duckdb", "sqlite")])
def test_a_file_of_the_other_kind(make_site: MakeSite, tmp_path: Path, kind: Any, other: str) -> None:
    made = make_database(tmp_path / "more", kind)
    load_site(make_site({"kind": kind, "file": str(made.path)}))
    assert "change the kind" in problem(make_site({"kind": other, "file": str(made.path)}))


def test_a_duckdb_file_that_was_not_closed(make_site: MakeSite, tmp_path: Path) -> None:
    made = make_database(tmp_path / "more", "duckdb")
    Path(f"{made.path}.wal").touch()
    assert ".wal lies beside it" in problem(make_site({"kind": "duckdb", "file": str(made.path)}))


def test_a_file_with_a_write_ahead_log(make_site: MakeSite, file: Path) -> None:
    place = make_site()
    file.chmod(0o644)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert "PRAGMA journal_mode=DELETE" in problem(place)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    load_site(place)


def test_a_file_on_another_file_system(make_site: MakeSite, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("everything is on one file system here")
    place = make_site(folders__cache=str(elsewhere / "not-there-yet" / "cache"))
    assert "another file system than folders.cache" in problem(place)


def test_the_variable_of_the_database_is_not_set_for_other_jobs(site_folder: Path) -> None:
    image = {"id": IMAGE_ID, "entrypoint": ["x"], "environment": {"DATABASE_URL": "sqlite:////x"}}
    assert "images.python:v2.environment:" in problem(write_site(site_folder, images={"python:v2": image}))


def test_more_signers_for_a_database_never_fewer(site_folder: Path) -> None:
    def threshold(usual: int, database: int) -> Site:
        changes = {"approvals__threshold": usual, "approvals__database_threshold": database}
        return load_site(write_site(site_folder, **changes))

    assert threshold(1, 2).policy.approvals.database_threshold == 2
    with pytest.raises(PolicyProblem, match=r"approvals\.database_threshold:"):
        threshold(2, 1)
