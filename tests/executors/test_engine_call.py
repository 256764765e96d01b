"""The create call follows from the profile, and no difference in the engine's answer goes unseen."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.executors.base import PROFILE
from jobrunner.executors.engine_call import create_body, differences, environment
from jobrunner.executors.hidden_paths import HIDDEN
from tests.executors.test_base import RUN

pytestmark = pytest.mark.unit

NAMES = ("LD_PRELOAD", "HTTP_PROXY", "JOBRUNNER_MODE", "DATABASE_URL", "EMPTY")
IMAGE: dict[str, Any] = {
    "Env": ["PATH=/opt", *(f"{name}=x" for name in NAMES[:-1]), "EMPTY="],
    "Labels": {"from": "image"},
}
WORKSPACE = Path("/srv/work/workspace")
BODY = create_body(PROFILE, RUN, IMAGE, WORKSPACE)


def honest_answer() -> dict[str, Any]:
    """What an engine says of a container made from BODY, with the additions of Docker 20.10."""
    host = copy.deepcopy(BODY["HostConfig"])
    host["RestartPolicy"]["MaximumRetryCount"] = 0
    host |= {"Binds": None, "CapAdd": None, "Privileged": False, "PidMode": "", "ConsoleSize": [0, 0]}
    host["MaskedPaths"] = sorted({*HIDDEN, "/sys/devices/virtual/powercap"})
    host["ReadonlyPaths"] = sorted(PROFILE.readonly_paths)
    config = {key: value for key, value in copy.deepcopy(BODY).items() if key != "HostConfig"}
    config["Labels"]["from"] = "image"
    config |= {"Tty": False, "Volumes": None, "OnBuild": None, "AttachStdin": False}
    mount = {
        "Type": "bind", "Source": str(WORKSPACE), "Destination": "/workspace",
        "Mode": "", "RW": True, "Propagation": "rprivate",
    }  # fmt: skip
    return {
        "Name": f"/{RUN.name}",
        "Image": RUN.image_id,
        "Config": config,
        "HostConfig": host,
        "Mounts": [mount],
        "NetworkSettings": {"Networks": {"none": {}}},
        "AppArmorProfile": "docker-default",
    }


def compare(answer: dict[str, Any]) -> list[str]:
    return differences(PROFILE, BODY, answer, IMAGE, RUN.name)


def test_the_body_is_the_profile() -> None:
    host = BODY["HostConfig"]
    assert json.loads(json.dumps(BODY)) == BODY
    assert (BODY["Image"], BODY["User"]) == (RUN.image_id, "200000:200000")
    assert (BODY["Entrypoint"], BODY["Cmd"]) == (list(RUN.entrypoint), list(RUN.argv))
    assert (host["NetworkMode"], host["CapDrop"], host["ReadonlyRootfs"]) == ("none", ["ALL"], True)
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (2**33, 2**33, 512)
    assert {"Name": "core", "Soft": 0, "Hard": 0} in host["Ulimits"]
    assert host["Tmpfs"] == {"/tmp": "rw,nosuid,nodev,noexec,size=536870912,nr_inodes=65536,mode=1777"}


def test_J04_names_of_the_image_are_unset_and_policy_may_keep_one() -> None:
    plain = environment(PROFILE, RUN, IMAGE)
    assert set(NAMES) <= set(plain)
    assert not any(entry.startswith(f"{name}=") for entry in plain for name in NAMES)
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in plain
    kept = environment(PROFILE, replace(RUN, environment={"R_LIBS": "/r"}), IMAGE)
    assert set(kept) - set(plain) == {"R_LIBS=/r"}


def test_a_seccomp_list_goes_inline() -> None:
    options = BODY["HostConfig"]["SecurityOpt"]
    assert options == ["no-new-privileges:true", f"seccomp={PROFILE.seccomp}"]


def test_an_engine_that_changes_the_seccomp_list_is_seen() -> None:
    other = PROFILE.seccomp.replace('"accept",', "", 1)
    options = ["no-new-privileges:true", f"seccomp={other}"]
    assert len(compare(change("HostConfig.SecurityOpt", options))) == 1


def test_an_honest_answer_has_no_difference() -> None:
    assert compare(honest_answer()) == []


@pytest.mark.parametrize("part", ["Config", "HostConfig"])
@given(key=st.text(min_size=1), value=st.one_of(st.just(True), st.integers(1), st.text(min_size=1)))
def test_a_key_nobody_asked_for_is_seen(part: str, key: str, value: Any) -> None:
    answer = honest_answer()
    if key in answer[part]:
        return
    answer[part][key] = value
    assert len(compare(answer)) == 1


@pytest.mark.parametrize(
    ("part", "key"),
    [("Config", key) for key in BODY if key != "HostConfig"]
    + [("HostConfig", key) for key in BODY["HostConfig"]],
)
def test_a_dropped_key_is_seen(part: str, key: str) -> None:
    answer = honest_answer()
    del answer[part][key]
    assert compare(answer) != []


@pytest.mark.parametrize("key", ["MaskedPaths", "ReadonlyPaths"])
def test_an_open_path_is_seen_and_a_further_closed_one_is_welcome(key: str) -> None:
    answer = honest_answer()
    answer["HostConfig"][key].append("/proc/more")
    assert compare(answer) == []
    answer["HostConfig"][key] = answer["HostConfig"][key][1:]
    assert len(compare(answer)) == 1


def change(path: str, value: Any) -> dict[str, Any]:
    answer = honest_answer()
    *folders, last = path.split(".")
    place: Any = answer
    for name in folders:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[last] = value
    return answer


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Name", "/other"),
        ("Image", f"sha256:{'b' * 64}"),
        ("NetworkSettings.Networks", {"bridge": {}}),
        ("NetworkSettings.Networks", {"none": {}, "bridge": {}}),
        ("AppArmorProfile", "unconfined"),
        ("Mounts.0.RW", False),
        ("Mounts.0.Name", "other"),
        ("Mounts.0.Propagation", "shared"),
        ("Mounts", []),
        ("HostConfig.Memory", 0),
        ("HostConfig.CapDrop", []),
        ("HostConfig.Ulimits", []),
        ("HostConfig.RestartPolicy", {"Name": "always"}),
        ("HostConfig.LogConfig", {"Type": "syslog", "Config": {}}),
        ("Config.Env", []),
        ("Config.Healthcheck", {"Test": ["CMD", "x"]}),
        ("Config.Labels", {}),
    ],
)
def test_a_changed_value_is_seen(path: str, value: Any) -> None:
    assert len(compare(change(path, value))) == 1
