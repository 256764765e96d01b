"""Our list of system calls is one that an engine takes as it is meant, and lets nothing dangerous through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.executors.base import PROFILE
from jobrunner.executors.seccomp import allowed_calls, compact

pytestmark = pytest.mark.unit

LIST = json.loads(allowed_calls())
ALLOWED = {
    name for entry in LIST["syscalls"] if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]
}
BY_ARGUMENTS = {
    name for entry in LIST["syscalls"] if entry["action"] == "SCMP_ACT_ALLOW" and "args" in entry
    for name in entry["names"]
}  # fmt: skip

# threats.md section 2, and what reaches other processes, the kernel's own settings, mounts or namespaces.
NEVER = {
    "io_uring_setup", "io_uring_enter", "io_uring_register", "ptrace", "process_vm_readv",
    "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "userfaultfd", "keyctl", "add_key",
    "request_key", "bpf", "perf_event_open", "personality", "socketcall", "mount", "umount", "umount2",
    "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "statmount", "listmount", "unshare", "setns", "init_module",
    "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
    "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "sethostname", "setdomainname",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime", "iopl", "ioperm", "modify_ldt",
    "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark", "lookup_dcookie",
    "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl", "vm86", "vm86old", "seccomp", "memfd_secret",
    "remap_file_pages", "move_pages", "migrate_pages", "mbind", "set_mempolicy", "get_mempolicy",
    "set_mempolicy_home_node", "vmsplice", "sync", "setuid", "setgid", "setgroups", "setresuid",
    "setresgid", "setreuid", "setregid", "setfsuid", "setfsgid", "capset", "io_setup", "io_submit",
    "lsm_set_self_attr",
}  # fmt: skip


def test_the_agent_and_the_laptop_use_our_list() -> None:
    assert PROFILE.seccomp == allowed_calls()


def test_what_is_not_named_is_denied() -> None:
    assert LIST["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {entry["action"] for entry in LIST["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


def test_no_dangerous_call_is_named() -> None:
    assert set() == ALLOWED & NEVER


def test_only_native_calls_pass() -> None:
    assert [entry["subArchitectures"] for entry in LIST["archMap"]] == [[], []]
    assert "architectures" not in LIST


def test_sockets_and_clone_are_bound_by_their_arguments() -> None:
    assert {"socket", "socketpair", "clone", "mknod", "mknodat"} == BY_ARGUMENTS
    for entry in LIST["syscalls"]:
        if set(entry["names"]) & BY_ARGUMENTS:
            # One rule without arguments would undo all others.
            assert len(entry["names"]) == 1
            assert entry["args"]


FIFO_ONLY = {"value": 0o170000, "valueTwo": 0o010000, "op": "SCMP_CMP_MASKED_EQ"}
NO_NAMESPACE = {"value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}


def test_only_fifos_can_be_made_and_no_namespaces() -> None:
    rules = {entry["names"][0]: entry.get("args") for entry in LIST["syscalls"]}
    assert rules["mknod"] == [{"index": 1, **FIFO_ONLY}]
    assert rules["mknodat"] == [{"index": 2, **FIFO_ONLY}]
    assert rules["clone"] == [{"index": 0, **NO_NAMESPACE}]


def test_only_sockets_of_four_families_can_be_made() -> None:
    first = [entry["args"][0] for entry in LIST["syscalls"] if entry["names"] == ["socket"]]
    assert {(arg["index"], arg["op"]) for arg in first} == {(0, "SCMP_CMP_EQ")}
    assert {arg["value"] for arg in first} == {1, 2, 10, 16}
    (pair,) = [entry["args"] for entry in LIST["syscalls"] if entry["names"] == ["socketpair"]]
    assert pair == [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]


def test_clone3_is_answered_as_a_call_that_does_not_exist() -> None:
    (entry,) = [entry for entry in LIST["syscalls"] if "clone3" in entry["names"]]
    assert (entry["action"], entry["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize(
    "change",
    [
        {"defaultAction": "SCMP_ACT_ALLOW"},
        {"defaultAction": None},
        {"syscalls": []},
        {"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]},
    ],
)
def test_a_list_that_would_not_filter_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a list of allowed calls"):
        compact(json.dumps(LIST | change))


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="must deny"):
        compact("{}")


@given(comment=st.text(max_size=20))
def test_comments_do_not_reach_the_engine(comment: str) -> None:
    commented = LIST | {"syscalls": [entry | {"comment": comment} for entry in LIST["syscalls"]]}
    assert compact(json.dumps(commented)) == allowed_calls()
