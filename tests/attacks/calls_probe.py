"""Runs inside a container: makes system calls by number and prints {probe: "ok" or the error's name} as JSON.

Numbers are those of x86-64. Each probe runs in a child of its own, so that one which is killed by its call is
told as the signal's name, and no probe changes what another one meets. Arguments are harmless even to a
privileged caller: where the call would change the host, they are ones that the kernel refuses after it has
looked at the caller's rights.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
BUFFER = ctypes.create_string_buffer(4096)
ADDRESS = ctypes.addressof(BUFFER)
NEW = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
    "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
NOWHERE = -100  # AT_FDCWD
NOBODY = 2**22 + 1  # above the largest pid
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
I386_SOCKET, X32 = 359, 0x40000000
VSOCK = 40


def call(number: int, *words: int) -> int:
    """One system call; raises OSError."""
    result = int(LIBC.syscall(*[ctypes.c_long(word) for word in (number, *words)]))
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def clone(flags: int) -> int:
    """Clone with these flags; the new process ends at once."""
    child = call(56, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child


def clone3() -> int:
    """The smallest clone3, with its exit signal alone."""
    child = call(435, ctypes.addressof((ctypes.c_uint64 * 8)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)), 64)
    if child == 0:
        os._exit(0)
    return child


def by_interrupt(number: int, *words: int) -> int:
    """The 32-bit way into the kernel, with its own numbers: eax, ebx, ecx, edx, int 0x80, ret."""
    code = b"\x53"  # push rbx
    for register, word in zip((0xB8, 0xBB, 0xB9, 0xBA), (number, *words), strict=False):
        code += bytes([register]) + word.to_bytes(4, "little")
    code += b"\xcd\x80\x5b\x48\x98\xc3"  # int 0x80, pop rbx, cdqe, ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = int(run())
    if result < 0:
        raise OSError(-result, "")
    return result


def trace_another() -> int:
    """Attach to a child of this probe, which is of the same user."""
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        return call(101, 16, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def read_another() -> int:
    """Read 8 bytes of the parent's memory, at an address that parent and child share by the fork."""
    here = (ctypes.c_uint64 * 2)(ADDRESS, 8)
    there = (ctypes.c_uint64 * 2)(ADDRESS, 8)
    return call(310, os.getppid(), ctypes.addressof(here), 1, ctypes.addressof(there), 1, 0)


PROBES: dict[str, Callable[[], object]] = {
    # Past this list, in the kernel's own threads.
    "io_uring_setup": lambda: call(425, 4, ctypes.addressof(ctypes.create_string_buffer(120))),
    "io_uring_enter": lambda: call(426, -1, 0, 0, 0, 0, 0),
    "io_uring_register": lambda: call(427, -1, 0, 0, 0),
    "userfaultfd": lambda: call(323, 1),  # UFFD_USER_MODE_ONLY
    "keyctl": lambda: call(250, 0, -3, 1),  # GET_KEYRING_ID of the session, made if need be
    "add_key": lambda: call(248, ctypes.addressof(ctypes.create_string_buffer(b"user")), ADDRESS, 0, 0, 0),
    "request_key": lambda: call(249, 0, 0, 0, 0),
    "bpf": lambda: call(321, 99, 0, 0),
    "perf_event_open": lambda: call(298, 0, 0, -1, -1, 0),
    "seccomp": lambda: call(317, 2, 0, ctypes.addressof(ctypes.c_uint32(0x7FFF0000))),
    "memfd_secret": lambda: call(447, 1 << 20),
    # Other processes.
    "ptrace": trace_another,
    "ptrace_me": lambda: call(101, 0, 0, 0, 0),
    "process_vm_readv": read_another,
    "process_vm_writev": lambda: call(311, os.getpid(), 0, 0, 0, 0, 1),
    "pidfd_getfd": lambda: call(438, -1, 0, 0),
    "process_madvise": lambda: call(440, -1, 0, 0, 0, 0),
    "kcmp": lambda: call(312, os.getpid(), os.getpid(), 0, 0, 0),
    "move_pages": lambda: call(279, 0, 0, 0, 0, 0, 0),
    "personality": lambda: call(135, 0x0040000),  # ADDR_NO_RANDOMIZE
    # Mounts and namespaces.
    "mount": lambda: call(165, 0, 0, 0, 0, 0),
    "umount2": lambda: call(166, 0, 0),
    "pivot_root": lambda: call(155, 0, 0),
    "chroot": lambda: call(161, 0),
    "move_mount": lambda: call(429, -1, 0, -1, 0, 0x8000),
    "open_tree": lambda: call(428, -1, 0, 0x40000000),
    "fsopen": lambda: call(430, 0, 0x8000),
    "fsconfig": lambda: call(431, -1, 99, 0, 0, 0),
    "fsmount": lambda: call(432, -1, 0x8000, 0),
    "fspick": lambda: call(433, -1, 0, 0x8000),
    "mount_setattr": lambda: call(442, -1, 0, 0x80000, 0, 0),
    **{f"unshare_{name}": lambda flag=flag: call(272, flag) for name, flag in NEW.items()},
    **{f"clone_{name}": lambda flag=flag: clone(flag) for name, flag in NEW.items() if name != "time"},
    "setns": lambda: call(308, -1, 0),
    "clone3": clone3,
    "open_by_handle_at": lambda: call(304, -1, ADDRESS, 0),
    "name_to_handle_at": lambda: call(303, NOWHERE, 0, 0, 0, 0x8000),
    "fanotify_init": lambda: call(300, 0x80000000, 0),
    "mknod_device": lambda: call(133, 0, 0o020600, 0),
    "mknodat_device": lambda: call(259, -1, 0, 0o060600, 0),
    # The machine.
    "init_module": lambda: call(175, 0, 0, 0),
    "finit_module": lambda: call(313, -1, 0, 0xFFFF),
    "delete_module": lambda: call(176, 0, 0xFFFF),
    "kexec_load": lambda: call(246, 0, 0, 0, 0xFFFF),
    "kexec_file_load": lambda: call(320, -1, -1, 0, 0, 0xFFFF),
    "reboot": lambda: call(169, 0, 0, 0, 0),
    "swapon": lambda: call(167, 0, -1),
    "swapoff": lambda: call(168, 0),
    "quotactl": lambda: call(179, -1, 0, 0, 0),
    "syslog": lambda: call(103, 3, 0, -1),
    "sethostname": lambda: call(170, 0, -1),
    "setdomainname": lambda: call(171, 0, -1),
    "settimeofday": lambda: call(164, 1, 1),
    "clock_settime": lambda: call(227, 99, 0),
    "iopl": lambda: call(172, 99),
    "ioperm": lambda: call(173, 0x10000, 1, 1),
    "modify_ldt": lambda: call(154, 99, 0, 0),
    "vmsplice": lambda: call(278, -1, 0, 0, 0),
    "sync": lambda: call(162),
    "setuid": lambda: call(105, os.getuid()),
    "setgroups": lambda: call(116, -1, 0),
    "capset": lambda: call(126, 0, 0),
    # Sockets: every family but AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, and the odd ones of these.
    **{
        f"family_{family}": lambda family=family: call(41, family, DGRAM, 0)
        for family in range(64)
        if family not in (1, 2, 10, 16)
    },
    "vsock_stream": lambda: call(41, VSOCK, STREAM, 0),
    "vsock_seqpacket": lambda: call(41, VSOCK, SEQPACKET, 0),
    "vsock_pair": lambda: call(53, VSOCK, STREAM, 0, ADDRESS),
    "vsock_flags": lambda: call(41, VSOCK, STREAM | os.O_CLOEXEC | os.O_NONBLOCK, 0),
    "inet_pair": lambda: call(53, 2, STREAM, 0, ADDRESS),
    "inet_raw": lambda: call(41, 2, RAW, 99),
    "inet_seqpacket": lambda: call(41, 2, SEQPACKET, 0),
    "inet_ping": lambda: call(41, 2, DGRAM, 1),
    "inet_sctp": lambda: call(41, 2, STREAM, 132),
    "inet_mptcp": lambda: call(41, 2, STREAM, 262),
    "inet_udplite": lambda: call(41, 2, DGRAM, 136),
    "inet6_raw": lambda: call(41, 10, RAW, 99),
    "inet6_mptcp": lambda: call(41, 10, STREAM, 262),
    **{f"netlink_{which}": lambda which=which: call(41, 16, RAW, which) for which in (4, 6, 9, 12, 15, 16)},
    # The same by the numbers of other architectures.
    "i386_vsock": lambda: by_interrupt(I386_SOCKET, VSOCK, STREAM, 0),
    "i386_getpid": lambda: by_interrupt(20),
    "x32_vsock": lambda: call(X32 + 41, VSOCK, STREAM, 0),
    "x32_getpid": lambda: call(X32 + 39),
    # What a study may do.
    "ok_getpid": lambda: call(39),
    "ok_unix": lambda: call(41, 1, STREAM, 0),
    "ok_unix_pair": lambda: call(53, 1, STREAM, 0, ADDRESS),
    "ok_tcp": lambda: call(41, 2, STREAM | os.O_CLOEXEC | os.O_NONBLOCK, 6),
    "ok_udp": lambda: call(41, 2, DGRAM, 0),
    "ok_tcp6": lambda: call(41, 10, STREAM, 0),
    "ok_route": lambda: call(41, 16, RAW | os.O_CLOEXEC, 0),
    "ok_clone": lambda: clone(0),
    "ok_fifo": lambda: os.mkfifo(f"/tmp/fifo-{os.getpid()}"),
    "ok_memfd": lambda: call(319, ADDRESS, 0),
}


def outcome(probe: Callable[[], object]) -> str:
    """What became of one probe, run in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            probe()
            said = "ok"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error.errno))
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(PROBES)
    print(json.dumps({name: outcome(PROBES[name]) for name in chosen}))
