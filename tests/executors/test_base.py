"""The values of the contract refuse what could not be put safely into a name, path or mount option."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.executors.base import GIB, MIB, PROFILE, ActionRun, Limits
from jobrunner.executors.hidden_paths import HIDDEN, OF_THE_ENGINE

pytestmark = pytest.mark.unit

RUN = ActionRun(
    agent_id="site-1",
    job_id="abcdefghijklmnopqrstuvwxyz",
    attempt=1,
    image_id=f"sha256:{'a' * 64}",
    entrypoint=("/usr/local/bin/run-action", "python3"),
    argv=("analysis/a.py",),
    uid=200_000,
    gid=200_000,
    tree=Path("/srv/trees/abc"),
)


def test_name_and_labels_carry_the_attempt() -> None:
    assert RUN.name == "jr-abcdefghijklmnopqrstuvwxyz-1"
    assert RUN.labels == {
        "jobrunner.agent": "site-1",
        "jobrunner.job": "abcdefghijklmnopqrstuvwxyz",
        "jobrunner.attempt": "1",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", "a,b"),
        ("agent_id", ""),
        ("job_id", "../../../../../../../../../"),
        ("job_id", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("job_id", "abcdefghijklmnopqrstuvwxyz\n"),
        ("attempt", 0),
        ("attempt", 100),
        ("image_id", "python:v2"),
        ("image_id", f"x@sha256:{'a' * 64}"),
        ("argv", ("a\0b",)),
        ("environment", {"A=B": "1"}),
        ("environment", {"": "1"}),
        ("environment", {"A": "\0"}),
        ("folders", ("../out",)),
        ("folders", ("/out",)),
        ("folders", ("out//x",)),
        ("folders", ("",)),
        ("tree", Path("relative")),
        ("tree", Path("/srv/a:b")),
        ("tree", Path("/srv/a,upperdir=b")),
        ("tree", Path("/srv/../etc")),
        ("inputs", Path("/srv/a b")),
    ],
)
def test_a_bad_field_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError):
        replace(RUN, **{field: value})


def test_a_run_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to run"):
        replace(RUN, entrypoint=(), argv=())


@pytest.mark.parametrize("limit", [limit.name for limit in fields(Limits)])
def test_no_limit_can_be_switched_off(limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: 0})


def test_the_limits_are_those_of_the_specification() -> None:
    assert asdict(Limits()) == {
        "pids": 512, "memory": 8 * GIB, "nano_cpus": 2_000_000_000, "disk": 20 * GIB, "inodes": 1_000_000,
        "wall_clock_s": 86_400, "shm": 256 * MIB, "tmp": 512 * MIB, "tmp_inodes": 65_536, "open_files": 4_096,
        "file_size": 10 * GIB, "log_bytes": 20 * MIB, "stop_s": 10,
    }  # fmt: skip
    assert Limits().threads == "2"


def as_asked(part: object) -> object:
    """A part of the profile with the values of RUN, and in types that compare."""
    if callable(part):
        return as_asked(part(RUN))
    if isinstance(part, Mapping):
        return {key: as_asked(value) for key, value in part.items()}
    return [as_asked(value) for value in part] if isinstance(part, tuple) else part


def limit(name: str, most: int) -> dict[str, object]:
    return {"Name": name, "Soft": most, "Hard": most}


def test_the_profile_is_that_of_the_specification() -> None:
    # threats.md section 2, key by key; what is not here keeps the engine's empty default.
    assert as_asked(PROFILE.config) == {
        "Image": RUN.image_id, "Labels": RUN.labels, "User": "200000:200000",
        "Entrypoint": ["/usr/local/bin/run-action", "python3"], "Cmd": ["analysis/a.py"],
        "WorkingDir": "/workspace", "Hostname": "job", "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM", "StopTimeout": 10,
    }  # fmt: skip
    kept = {"max-size": "10485760", "max-file": "2", "compress": "false", "mode": "blocking"}
    private = {"Propagation": "rprivate"}
    workspace = {"Type": "bind", "Target": "/workspace", "BindOptions": private}
    assert as_asked(PROFILE.host) == {
        "NetworkMode": "none", "Dns": ["192.0.2.1"], "DnsSearch": ["."], "IpcMode": "private",
        "ShmSize": 268_435_456, "CgroupnsMode": "private", "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"], "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=536870912,nr_inodes=65536,mode=1777"},
        "PidsLimit": 512, "Memory": 8 * GIB, "MemorySwap": 8 * GIB, "NanoCpus": 2_000_000_000,
        "Ulimits": [
            limit("nofile", 4_096), limit("core", 0), limit("fsize", 10 * GIB), limit("memlock", 65_536),
            limit("msgqueue", 0),
        ],
        "LogConfig": {"Type": "local", "Config": kept}, "Init": True, "Runtime": "runc",
        "RestartPolicy": {"Name": "no"}, "Mounts": [workspace], "MaskedPaths": list(HIDDEN),
    }  # fmt: skip


def test_the_environment_is_that_of_the_specification() -> None:
    assert as_asked(PROFILE.environment) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp",
        "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC", "HOSTNAME": "job", "OMP_NUM_THREADS": "2",
    }  # fmt: skip


def test_what_the_engine_hides_by_itself_stays_hidden() -> None:
    assert {
        "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    } <= set(HIDDEN)  # fmt: skip
    assert PROFILE.readonly_paths == {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    }  # fmt: skip


def test_what_counts_what_others_do_is_hidden_and_what_programs_need_is_not() -> None:
    assert set(HIDDEN) - set(OF_THE_ENGINE) == {
        "/proc/buddyinfo", "/proc/diskstats", "/proc/fs", "/proc/interrupts", "/proc/irq", "/proc/key-users",
        "/proc/locks", "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure", "/proc/schedstat",
        "/proc/softirqs", "/proc/swaps", "/proc/sys/fs", "/proc/sys/kernel/pty", "/proc/vmstat",
        "/proc/zoneinfo", "/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/fs/btrfs",
        "/sys/fs/ext4", "/sys/fs/f2fs", "/sys/fs/fuse", "/sys/fs/xfs", "/sys/kernel", "/sys/module",
        "/sys/power",
    }  # fmt: skip
    assert len(set(HIDDEN)) == len(HIDDEN)


@given(st.text(max_size=30))
def test_an_accepted_folder_stays_inside(folder: str) -> None:
    try:
        run = replace(RUN, folders=(folder,))
    except ValueError:
        return
    parts = Path("/upper", *run.folders).parts
    assert parts[:2] == ("/", "upper")
    assert ".." not in parts
    assert len(parts) > 2
