"""`jobrunner agent init`: files that the agent starts with, and nothing overwritten."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.approvals import check_signers_file
from jobrunner.agent.first_files import AlreadyThere, FirstDatabase, write_first_files
from jobrunner.agent.policy import PolicyProblem, Site, load_site
from jobrunner.executors.database import Database
from jobrunner.sync.signing import check_public_key, load_private_key, public_key_text
from tests.agent.policies import IMAGE_ID
from tests.fixtures.database_files import make_database

pytestmark = pytest.mark.unit

NAMES = ("agent.toml", "agent_key.pem", "allowed_signers")


def write(folder: Path, **changes: Any) -> str:
    given: dict[str, Any] = {
        "backend": "site-one",
        "controller": "https://controller.example",
        "mode": "production",
        "git": ["https://github.com/opensafely", "https://git.example/org"],
        "data": folder / "data",
        "images": [f"python:v2={IMAGE_ID}", f"r:v2={IMAGE_ID}"],
    }
    return write_first_files(folder, **given | changes)


def load(folder: Path) -> Site:
    (folder / "credential").write_text("c" * 40)
    (folder / "credential").chmod(0o600)
    site = load_site(folder / "agent.toml")
    check_signers_file(site)
    return site


def test_what_it_writes_loads_again(site_folder: Path) -> None:
    public = write(site_folder)
    site = load(site_folder)
    assert site.policy.mode == "production"
    assert site.policy.backend == "site-one"
    assert site.endpoint().url == "https://controller.example"
    assert site.policy.git.allowed == ("https://github.com/opensafely", "https://git.example/org")
    assert {name: image.id for name, image in site.policy.images.items()} == {
        "python:v2": IMAGE_ID,
        "r:v2": IMAGE_ID,
    }
    assert site.high == site_folder / "data/high"
    assert public_key_text(load_private_key(site.agent_key)) == check_public_key(public)


def test_without_images_it_loads_too(site_folder: Path) -> None:
    write(site_folder, images=[])
    policy = load(site_folder).policy
    assert policy.images == {}
    assert policy.reusable_actions is None


def test_the_commented_settings_are_real_ones(site_folder: Path) -> None:
    write(site_folder, images=[])
    place = site_folder / "agent.toml"
    text = place.read_text()
    for comment in (
        '# ca_file = "',
        '# revoked = "',
        "# token_files = {",
        "# database_threshold = ",
        "# [reusable_actions]",
        "# prefix = ",
        "# [database]",
        "# dataset = ",
        "# kind = ",
        "# file = ",
        "# public = ",
        "# slots = 1\n# Image id",
        "# [database.images]",
        '# "sha256:',
        '# [images."',
        '# id = "',
        "# entrypoint = ",
    ):
        assert comment in text
        text = text.replace(comment, comment[2:])
    made = make_database(site_folder / "rows")
    text = text.replace("/srv/data/db.sqlite", str(made.path))
    place.write_text(text.replace("<64 hex digits of the image id>", "0" * 64))
    (site_folder / "github_token").write_text("t" * 40)
    (site_folder / "github_token").chmod(0o600)
    site = load_site_with_credential(site_folder)
    assert list(site.policy.images) == ["python:v2"]
    assert site.database == made
    assert site.policy.reusable_actions is not None
    assert site.policy.reusable_actions.prefix == "https://github.com/opensafely-actions"


def load_site_with_credential(folder: Path) -> Site:
    (folder / "credential").write_text("c" * 40)
    (folder / "credential").chmod(0o600)
    return load_site(folder / "agent.toml")


def test_the_values_in_the_template_are_the_defaults(site_folder: Path) -> None:
    write(site_folder)
    policy = load(site_folder).policy
    lean = {"mode", "backend", "controller", "folders", "git", "images"}
    for name, field in type(policy).model_fields.items():
        if name not in lean:
            assert getattr(policy, name) == field.default


def test_modes_do_not_depend_on_the_umask(site_folder: Path) -> None:
    before = os.umask(0)
    try:
        write(site_folder)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((site_folder / name).stat().st_mode) for name in NAMES}
    assert modes == {"agent.toml": 0o644, "agent_key.pem": 0o600, "allowed_signers": 0o644}
    assert stat.S_IMODE(site_folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_overwritten(site_folder: Path, name: str) -> None:
    site_folder.mkdir()
    (site_folder / name).write_text("mine")
    with pytest.raises(AlreadyThere):
        write(site_folder)
    assert [path.name for path in site_folder.iterdir()] == [name]
    assert (site_folder / name).read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_link_is_not_followed(site_folder: Path, tmp_path: Path, name: str) -> None:
    site_folder.mkdir()
    (site_folder / name).symlink_to(tmp_path / "victim")
    with pytest.raises(AlreadyThere):
        write(site_folder)
    assert not (tmp_path / "victim").exists()


def test_a_second_init_changes_nothing(site_folder: Path) -> None:
    write(site_folder)
    before = {name: (site_folder / name).read_bytes() for name in NAMES}
    with pytest.raises(AlreadyThere):
        write(site_folder)
    assert {name: (site_folder / name).read_bytes() for name in NAMES} == before


@pytest.mark.parametrize("sign", ['"', "\\", "\n", "\r", "\t", "\0", "\x1b", "\x7f"])
@pytest.mark.parametrize("name", ["backend", "controller", "mode", "git", "data", "images"])
def test_a_sign_that_would_leave_its_place_is_refused(site_folder: Path, name: str, sign: str) -> None:
    hostile = f'x{sign}]\nmode = "test'
    value: Any = hostile
    if name == "data":
        value = Path(hostile)
    elif name in ("git", "images"):
        value = [hostile]
    with pytest.raises(PolicyProblem):
        write(site_folder, **{name: value})
    assert not site_folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend", "Site One"),
        ("mode", "debug"),
        ("controller", "http://controller.example"),
        ("controller", "controller.example"),
        ("git", ["http://git.example"]),
        ("git", []),
        ("images", ["python:v2=latest"]),
        ("images", [f"python:latest={IMAGE_ID}"]),
        ("images", [f"python={IMAGE_ID}"]),
    ],
)  # fmt: skip
def test_values_that_the_agent_would_not_start_with_are_refused_at_once(
    site_folder: Path, name: str, value: Any
) -> None:
    with pytest.raises(PolicyProblem):
        write(site_folder, **{name: value})
    assert not site_folder.exists()


def test_a_dollar_sign_is_just_a_sign(site_folder: Path) -> None:
    write(site_folder, data=Path("/srv/$mode/$$"))
    assert load_site_with_credential(site_folder).high == Path("/srv/$mode/$$/high")


SQLRUNNER_ID = "sha256:" + "5" * 64
EHRQL_ID = "sha256:" + "6" * 64


def with_database(folder: Path, made: Database, **changes: Any) -> Site:
    values = {
        "file": f"{made.kind}={made.path}", "dataset": "flchain", "images": ("sqlrunner:v1", "ehrql:v1"),
        "public": False,
    } | changes  # fmt: skip
    images = [f"python:v2={IMAGE_ID}", f"sqlrunner:v1={SQLRUNNER_ID}", f"ehrql:v1={EHRQL_ID}"]
    write(folder, images=images, database=FirstDatabase(**values))
    return load(folder)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_database_from_the_beginning(site_folder: Path, tmp_path: Path, kind: Any) -> None:
    made = make_database(tmp_path / "rows", kind)
    site = with_database(site_folder, made)
    section = site.policy.database
    assert site.database == made
    assert section is not None
    assert (section.dataset, section.public, section.slots) == ("flchain", False, 1)
    assert section.images == {SQLRUNNER_ID: "any", EHRQL_ID: ("generate-dataset", "generate-measures")}


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "sqlite="},
        {"file": "postgresql=/srv/x"},
        {"file": "/srv/x"},
        {"file": 'sqlite=/srv/"x'},
        {"file": "sqlite=/srv/missing"},
        {"dataset": "FL chain"},
        {"dataset": 'x"\n'},
        {"images": ("sqlrunner:v2",)},
        {"images": ("python:v2",)},
        {"images": ("sqlrunner:v1", "sqlrunner:v1")},
        {"images": ()},
    ],
)
def test_a_database_that_the_agent_would_not_start_with(
    site_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    made = make_database(tmp_path / "rows")
    with pytest.raises(PolicyProblem):
        with_database(site_folder, made, **changes)
    assert not site_folder.exists()


# --- the command itself ---


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("jobrunner")), "agent", "init", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_command(site_folder: Path, tmp_path: Path) -> None:
    made = make_database(tmp_path / "rows")
    words = [
        str(site_folder), "--backend", "site-one", "--controller", "https://controller.example",
        "--git", "https://github.com/opensafely", "--data", str(site_folder / "data"),
        "--image", f"python:v2={IMAGE_ID}", "--image", f"sqlrunner:v1={SQLRUNNER_ID}",
        "--database", f"sqlite={made.path}", "--dataset", "flchain", "--database-image", "sqlrunner:v1",
        "--database-public",
    ]  # fmt: skip
    done = command(*words)
    assert done.returncode == 0, done.stderr
    site = load(site_folder)
    assert public_key_text(load_private_key(site.agent_key)) in done.stdout
    assert "PRIVATE" not in done.stdout

    assert site.database == made
    assert site.policy.database is not None
    assert site.policy.database.public

    again = command(*words)
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--database", "sqlite=/srv/x"],
        ["--database", "sqlite=/srv/x", "--dataset", "flchain"],
        ["--database", "sqlite=/srv/x", "--database-image", "sqlrunner:v1"],
        ["--dataset", "flchain"],
        ["--database-image", "sqlrunner:v1"],
        ["--database-public"],
    ],
)
def test_the_command_with_half_a_database(site_folder: Path, words: list[str]) -> None:
    done = command(
        str(site_folder), "--backend", "site-one", "--controller", "https://c.example",
        "--git", "https://g.example/o", *words,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--database" in done.stderr
    assert "Traceback" not in done.stderr
    assert not site_folder.exists()


def test_the_command_with_a_hostile_value(site_folder: Path) -> None:
    done = command(
        str(site_folder),
        "--backend",
        'x"\nmode = "test',
        "--controller",
        "https://c.example",
        "--git",
        "https://g.example/o",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("jobrunner: ")
    assert "Traceback" not in done.stderr
    assert not site_folder.exists()
