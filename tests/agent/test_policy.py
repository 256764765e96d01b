"""P17, unit part: the agent does not start with a setting that cannot be meant, and says which one it is."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.policy import LimitsSection, PolicyProblem, load_site
from jobrunner.executors.base import Limits
from tests.agent.policies import IMAGE_ID, write_site

pytestmark = pytest.mark.unit

TOKEN = "t" * 40


def problem(place: Path) -> str:
    with pytest.raises(PolicyProblem) as caught:
        load_site(place)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["production", "dev", "test"])
def test_a_good_policy_is_read(site_folder: Path, mode: str) -> None:
    place = write_site(site_folder, mode=mode)
    site = load_site(place)
    assert site.digest == hashlib.sha256(place.read_bytes()).hexdigest()
    assert (site.high, site.state) == (site_folder / "high", site_folder / "state")
    assert site.endpoint().url == "https://controller.example"
    assert site.endpoint().credential == "c" * 40
    assert site.policy.images["python:v2"].id == IMAGE_ID


def test_every_limit_of_the_policy_is_one_of_the_sandbox(site_folder: Path) -> None:
    limits = {
        "slots": 3, "pids": 64, "memory_mib": 512, "cores": 0.5, "disk_mib": 64, "inodes": 2000,
        "wall_clock_s": 60, "stop_s": 3,
    }  # fmt: skip
    site = load_site(write_site(site_folder, limits=limits))
    assert set(limits) == set(LimitsSection.model_fields)
    assert site.limits() == Limits(
        pids=64, memory=512 * 2**20, nano_cpus=500_000_000, disk=64 * 2**20, inodes=2000, wall_clock_s=60,
        stop_s=3,
    )  # fmt: skip


def test_absolute_paths_stay_as_they_are(site_folder: Path, tmp_path: Path) -> None:
    site = load_site(write_site(site_folder, folders__high=str(tmp_path / "elsewhere")))
    assert site.high == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"mode": "debug"}, "mode"),
        ({"mode": None}, "mode"),
        ({"backend": "Site One"}, "backend"),
        ({"backend": "site\n"}, "backend"),
        ({"projects": ["Heart"]}, "projects.0"),
        ({"time_grain_s": 0}, "time_grain_s"),
        ({"time_grain_s": "60"}, "time_grain_s"),
        ({"controller__url": None}, "controller.url"),
        ({"controller__url": "http://controller.example"}, "controller.url"),
        ({"controller__url": "https://user:pass@controller.example"}, "controller.url"),
        ({"controller__verify": False}, "controller.verify"),
        ({"folders__high": None}, "folders.high"),
        ({"git__allowed": []}, "git.allowed"),
        ({"git__allowed": ["http://git.example/org"]}, "git"),
        ({"git__allowed": ["https://*.example/org"]}, "git"),
        ({"git__private_addresses": ["not-an-address"]}, "git"),
        ({"reusable_actions": {}}, "reusable_actions.prefix"),
        ({"reusable_actions__prefix": ""}, "reusable_actions.prefix"),
        ({"reusable_actions__prefix": "https://github.com"}, "reusable_actions.prefix"),
        ({"reusable_actions__prefix": "https://github.com/owner/"}, "reusable_actions.prefix"),
        ({"reusable_actions__prefix": "http://github.com/owner"}, "reusable_actions.prefix"),
        ({"reusable_actions__prefix": ["https://github.com/owner"]}, "reusable_actions.prefix"),
        ({"approvals__threshold": 0}, "approvals.threshold"),
        ({"approvals__threshold": True}, "approvals.threshold"),
        ({"limits__slots": 0}, "limits.slots"),
        ({"limits__slots": 65}, "limits.slots"),
        ({"limits__pids": 0}, "limits.pids"),
        ({"limits__memory_mib": 1}, "limits.memory_mib"),
        ({"limits__cores": 0}, "limits.cores"),
        ({"limits__disk_mib": 0}, "limits.disk_mib"),
        ({"limits__disk_mib": 16}, "limits.inodes"),
        ({"limits__wall_clock_s": 0}, "limits.wall_clock_s"),
        ({"limits__network": "host"}, "limits.network"),
        ({"sandbox": {"privileged": True}}, "sandbox.privileged"),
        ({"debug": True}, "debug"),
        ({"images": None}, "images"),
        ({"images": {"python:v2": {"id": "python:v2", "entrypoint": ["x"]}}}, "images.python:v2.id"),
        ({"images": {"python:v2": {"id": IMAGE_ID.upper(), "entrypoint": ["x"]}}}, "images.python:v2.id"),
        ({"images": {"python:v2": {"id": IMAGE_ID + "\n", "entrypoint": ["x"]}}}, "images.python:v2.id"),
        ({"images": {"python:v2": {"id": IMAGE_ID[:-1], "entrypoint": ["x"]}}}, "images.python:v2.id"),
        ({"images": {"python:v2": {"id": IMAGE_ID, "entrypoint": []}}}, "images.python:v2.entrypoint"),
        ({"images": {"python:v2": {"id": IMAGE_ID}}}, "images.python:v2.entrypoint"),
        ({"images": {"python": {"id": IMAGE_ID, "entrypoint": ["x"]}}}, "images.python"),
        ({"images": {"python:latest": {"id": IMAGE_ID, "entrypoint": ["x"]}}}, "images.python:latest"),
        ({"images": {"../python:v2": {"id": IMAGE_ID, "entrypoint": ["x"]}}}, "images.../python:v2"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_named(
    site_folder: Path, changes: dict[str, Any], setting: str
) -> None:
    assert f"{setting}:" in problem(write_site(site_folder, **changes))


@pytest.mark.parametrize(
    "wrong",
    [
        IMAGE_ID.upper(),
        f"{IMAGE_ID}0",
        f"{IMAGE_ID}@evil.example/python",
        f" {IMAGE_ID}",
        f"evil.example/python@{IMAGE_ID}",
        IMAGE_ID.replace("sha256", "sha512"),
        IMAGE_ID.replace(":", "\uff1a"),
    ],
)
def test_I05_an_image_is_an_id_to_its_last_character(site_folder: Path, wrong: str) -> None:
    images = {"python:v2": {"id": wrong, "entrypoint": ["x"]}}
    assert "images.python:v2.id:" in problem(write_site(site_folder, images=images))


def test_I05_twin_the_id_alone_is_taken(site_folder: Path) -> None:
    load_site(write_site(site_folder, images={"python:v2": {"id": IMAGE_ID, "entrypoint": ["x"]}}))


def test_all_wrong_settings_are_named_at_once(site_folder: Path) -> None:
    said = problem(write_site(site_folder, mode="x", backend="X", limits__slots=0))
    assert all(f"{setting}:" in said for setting in ("mode", "backend", "limits.slots"))


def test_http_on_loopback_is_for_dev_and_test_only(site_folder: Path) -> None:
    changes = {"controller__url": "http://127.0.0.1:8000", "git__allowed": ["https://git.example/org"]}
    for mode in ("dev", "test"):
        load_site(write_site(site_folder, mode=mode, **changes))
    assert "controller.url:" in problem(write_site(site_folder, mode="production", **changes))


def test_http_for_git_on_loopback_is_for_dev_and_test_only(site_folder: Path) -> None:
    changes = {"git__allowed": ["https://git.example/org", "http://127.0.0.1:8000/org"]}
    for mode in ("dev", "test"):
        load_site(write_site(site_folder, mode=mode, **changes))
    assert "git.allowed:" in problem(write_site(site_folder, mode="production", **changes))


def test_http_for_reusable_actions_on_loopback_is_for_dev_and_test_only(site_folder: Path) -> None:
    changes = {"reusable_actions__prefix": "http://127.0.0.1:8000/actions"}
    for mode in ("dev", "test"):
        load_site(write_site(site_folder, mode=mode, **changes))
    assert "reusable_actions.prefix:" in problem(write_site(site_folder, mode="production", **changes))


def test_reusable_actions_have_rules_of_their_own(site_folder: Path) -> None:
    """An owner of reusable actions is none of studies, nor the other way round; tokens go to their host."""
    site_folder.mkdir()
    (site_folder / "token").write_text(TOKEN)
    (site_folder / "token").chmod(0o600)
    changes = {
        "git__allowed": ["https://git.example/org", "https://other.example/org"],
        "git__token_files": {"git.example": "token", "other.example": "token"},
    }
    assert load_site(write_site(site_folder, **changes)).reusable_rules() is None
    place = write_site(site_folder, reusable_actions__prefix="https://git.example/actions", **changes)
    rules, studies = load_site(place).reusable_rules(), load_site(place).git_rules()
    assert rules is not None
    assert rules.allowed_prefixes == ("https://git.example/actions",)
    assert dict(rules.tokens) == {"git.example": TOKEN}
    assert studies.allowed_prefixes == ("https://git.example/org", "https://other.example/org")


@pytest.mark.parametrize("mode", ["dev", "test", "production"])
def test_http_to_another_machine_is_never_allowed(site_folder: Path, mode: str) -> None:
    assert "controller.url:" in problem(write_site(site_folder, mode=mode, controller__url="http://10.1.2.3"))
    assert "git" in problem(write_site(site_folder, mode=mode, git__allowed=["http://10.1.2.3/org"]))


@pytest.mark.parametrize("credential", ["", "changeme", "c" * 31, " " * 40])
def test_a_default_short_or_missing_credential(site_folder: Path, credential: str) -> None:
    assert "controller.credential_file:" in problem(write_site(site_folder, credential=credential))


def test_a_credential_that_is_no_ascii(site_folder: Path) -> None:
    assert "controller.credential_file:" in problem(write_site(site_folder, credential="\u00e9" * 40))


@pytest.mark.parametrize("name", ["credential", "agent_key.pem", "github_token"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_secret_that_others_can_read_or_change(site_folder: Path, name: str, mode: int) -> None:
    place = write_site(site_folder, git__token_files={"git.example": "github_token"})
    (site_folder / "github_token").write_text(TOKEN)
    (site_folder / "github_token").chmod(0o600)
    load_site(place)
    (site_folder / name).chmod(mode)
    setting = {
        "credential": "controller.credential_file",
        "agent_key.pem": "keys.agent_key_file",
        "github_token": "git.token_files.git.example",
    }[name]
    said = problem(place)
    assert f"{setting}: others can" in said
    assert "chmod" in said


@pytest.mark.parametrize("name", ["credential", "agent_key.pem", "github_token", "agent.toml"])
def test_a_file_that_is_not_there(site_folder: Path, name: str) -> None:
    place = write_site(site_folder, git__token_files={"git.example": "github_token"})
    (site_folder / "github_token").write_text(TOKEN)
    (site_folder / "github_token").chmod(0o600)
    (site_folder / name).unlink()
    said = problem(place)
    assert "cannot be read" in said
    assert name in said


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_policy_file_that_others_can_change(site_folder: Path, mode: int) -> None:
    place = write_site(site_folder)
    place.chmod(mode)
    assert "others can change" in problem(place)


@pytest.mark.parametrize("content", [b"mode = ", b"\xff\xfe", b"[a]\n[a]\n", b"{}", b"\0"])
def test_a_policy_file_that_is_no_toml(site_folder: Path, content: bytes) -> None:
    place = write_site(site_folder)
    place.write_bytes(content)
    assert "is not TOML" in problem(place)


def test_no_secret_is_quoted(site_folder: Path) -> None:
    place = write_site(site_folder, credential="canary-secret", git__token_files={"git.example": "token"})
    (site_folder / "token").write_text("canary secret")
    (site_folder / "token").chmod(0o600)
    assert "canary" not in problem(place)


def test_a_token_for_a_host_that_is_not_allowed(site_folder: Path) -> None:
    place = write_site(site_folder, git__token_files={"other.example": "token"})
    (site_folder / "token").write_text(TOKEN)
    (site_folder / "token").chmod(0o600)
    assert "other.example" in problem(place)
