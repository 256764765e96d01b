"""System calls that our own list closes, tried from inside python:v2 (threats.md section 8, S01 and S05).

The probes are in calls_probe.py. The twin makes the same calls without the list: whatever reaches the kernel
there gets another answer than the list's.
"""

import io
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors.base import JOB_UIDS, MIB, ActionRun, Limits
from jobrunner.executors.docker import DockerExecutor
from jobrunner.executors.docker_copy import CopyExecutor
from tests.attacks.calls_probe import PROBES
from tests.fixtures.canary_runs import AGENT, Ended, job_id, run_to_end, run_weakened

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

SCRIPT = (Path(__file__).parent / "calls_probe.py").read_text()
LIMITS = Limits(memory=512 * MIB, disk=64 * MIB, inodes=2_000, wall_clock_s=60, nano_cpus=1_000_000_000)
ALLOWED = {name for name in PROBES if name.startswith("ok_")}
FOREIGN = {name for name in PROBES if name.startswith(("i386_", "x32_"))}
FORBIDDEN = set(PROBES) - ALLOWED - FOREIGN
# Rights that let each harmless call be answered by its own code instead of by the check of rights before it.
RIGHTS = ["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SYS_BOOT", "SYSLOG", "MKNOD", "NET_RAW", "SETGID"]

Make = Callable[..., ActionRun]

if platform.machine() != "x86_64":
    pytest.skip("the probes have the numbers of x86-64", allow_module_level=True)


@pytest.fixture
def python_run(tmp_path: Path, python_v2_image: str) -> Make:
    """Make a run of Python: python_run(code, word, ...) -> ActionRun."""
    tree = tmp_path / "python-tree"
    tree.mkdir()
    tree.chmod(0o777)

    def make(code: str, *words: str, **fields: Any) -> ActionRun:
        uid = JOB_UIDS[os.getpid() % 100]
        given = {
            "agent_id": AGENT, "job_id": job_id(), "attempt": 1, "image_id": python_v2_image,
            "entrypoint": ("python3", "-c", code), "argv": words, "uid": uid, "gid": uid, "tree": tree,
            "limits": LIMITS,
        }  # fmt: skip
        return ActionRun(**{**given, **fields})

    return make


@pytest.fixture
def copying(engine: Any, tmp_path: Path) -> Iterator[CopyExecutor]:
    """The executor of a person's own machine."""
    del engine
    made = CopyExecutor(tmp_path / "copies")
    yield made
    made.sweep(AGENT, keep=())
    made.close()


def check_closed(said: dict[str, str]) -> None:
    assert {name: said[name] for name in FORBIDDEN if said[name] not in ("EPERM", "ENOSYS")} == {}
    # A call by a foreign number is answered by the end of the process, or the kernel does not know it.
    assert {name: said[name] for name in FOREIGN if said[name] not in ("SIGSYS", "ENOSYS", "SIGSEGV")} == {}
    assert said["clone3"] == "ENOSYS"
    assert {name: said[name] for name in ALLOWED} == dict.fromkeys(ALLOWED, "ok")


def test_S05_every_forbidden_call_is_refused(executor: DockerExecutor, python_run: Make) -> None:
    check_closed(run_to_end(executor, python_run(SCRIPT)).json)


def test_S05_every_forbidden_call_is_refused_on_ones_own_machine(
    copying: CopyExecutor, python_run: Make
) -> None:
    job = job_id()
    tree = copying.folder(f"jr-{job}-1")
    tree.mkdir(parents=True)
    run = python_run(SCRIPT, job_id=job, tree=tree)
    os.chown(tree, run.uid, run.gid)
    copying.prepare(run)
    copying.start(run)
    ended, log = copying.wait(run), io.BytesIO()
    copying.save_log(run, log)
    check_closed(Ended(ended, log.getvalue()).json)


def test_S05_twin_without_the_list_every_call_reaches_the_kernel(
    executor: DockerExecutor, python_run: Make, engine: Any
) -> None:
    open_walls = {"SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"], "CapAdd": RIGHTS}
    ended = run_weakened(engine, executor, python_run(SCRIPT), open_walls, User="0:0")
    assert {name for name in FORBIDDEN if ended.json[name] == "EPERM"} == set()
    assert ended.json["clone3"] != "ENOSYS"
    assert "SIGSYS" not in ended.json.values()


# What a plain user gets without the list, on any kernel that has it: here the list alone stands in the way.
PLAIN_USER = ("ptrace", "ptrace_me", "process_vm_readv", "personality", "inet_mptcp", "netlink_15", "sync")


def test_S05_twin_a_plain_user_may_without_the_list(
    executor: DockerExecutor, python_run: Make, engine: Any
) -> None:
    run = python_run(SCRIPT, *PLAIN_USER)
    ended = run_weakened(engine, executor, run, {"SecurityOpt": ["seccomp=unconfined"]})
    assert ended.json == dict.fromkeys(PLAIN_USER, "ok")


def test_S01_twin_the_engines_own_list_lets_vsock_through(
    executor: DockerExecutor, python_run: Make, engine: Any
) -> None:
    run = python_run(SCRIPT, "vsock_stream", "vsock_flags", "inet_mptcp", "netlink_15")
    ended = run_weakened(engine, executor, run, {"SecurityOpt": ["no-new-privileges:true"]})
    # A host without vsock does not know the family; the list would have said EPERM.
    assert "EPERM" not in ended.json.values()


EVERYDAY = """
import asyncio, concurrent.futures, ctypes, json, mmap, multiprocessing, os, shutil, signal, socket, sqlite3
import subprocess, sys, tempfile, threading, time

def square(number):
    return number * number

done = []
with open("a.txt", "w") as file:
    file.write("x" * 100_000); file.flush(); os.fsync(file.fileno())
shutil.copy2("a.txt", "b.txt")
os.link("a.txt", "c.txt")
os.symlink("a.txt", "d.txt")
os.replace("b.txt", "e.txt")
os.chmod("e.txt", 0o600)
os.utime("e.txt")
os.truncate("e.txt", 10)
os.mkfifo("fifo")
shutil.rmtree(tempfile.mkdtemp())
done.append("files")
for method in ("fork", "spawn", "forkserver"):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        if pool.map(abs, [-1, 2]) != [1, 2]:
            raise SystemExit(method)
done.append("processes")
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    sum(pool.map(square, range(100)))
done.append("threads")
SHELL = "ls -la / | wc -l; cat /proc/self/status | head -1; date; sort a.txt | head -c 1"
if subprocess.run(["sh", "-c", SHELL], capture_output=True, check=True, timeout=20).stderr:
    raise SystemExit("shell")
done.append("shell")
server = socket.create_server(("127.0.0.1", 0))
with server, socket.create_connection(server.getsockname()) as client:
    peer, _ = server.accept(); peer.sendall(b"hi")
    if client.recv(2) != b"hi":
        raise SystemExit("loopback")
socket.if_nameindex(); socket.socketpair(); socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
done.append("loopback")
async def both():
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    await asyncio.sleep(0.01)
asyncio.run(both())
done.append("asyncio")
database = sqlite3.connect("data.db")
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE t (a)")
database.commit()
done.append("sqlite")
signal.setitimer(signal.ITIMER_REAL, 10)
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
done.append("signals")
import numpy, pandas
numpy.linalg.svd(numpy.random.default_rng(1).random((200, 200)))
frame = pandas.DataFrame({"a": range(1000)}); frame.to_csv("frame.csv.gz", index=False)
if len(pandas.read_csv("frame.csv.gz")) != 1000:
    raise SystemExit("pandas")
done.append("pandas")
import matplotlib; matplotlib.use("Agg"); import matplotlib.pyplot
matplotlib.pyplot.plot([1, 2]); matplotlib.pyplot.savefig("plot.png")
done.append("matplotlib")
print(json.dumps(done))
"""


def test_S05_twin_everyday_python_works_under_the_list(executor: DockerExecutor, python_run: Make) -> None:
    ended = run_to_end(executor, python_run(EVERYDAY))
    assert ended.exit.status == 0, ended.log.decode()[-2000:]
    assert ended.log.splitlines()[-1].decode().count('"') == 2 * 10, ended.log.decode()[-2000:]


EVERYDAY_R = """
dir.create("out"); writeLines("a", "out/a.txt"); stopifnot(file.copy("out/a.txt", "out/b.txt"))
stopifnot(sum(unlist(parallel::mclapply(1:4, sqrt, mc.cores = 2))) > 6)
cluster <- parallel::makeCluster(2); stopifnot(sum(unlist(parallel::parLapply(cluster, 1:3, sqrt))) > 4)
parallel::stopCluster(cluster)
stopifnot(system("ls / > out/listing.txt") == 0, nchar(Sys.time()) > 0)
png("out/plot.png", type = "cairo"); plot(1:10); dev.off()
write.csv(data.frame(a = 1:10), gzfile("out/a.csv.gz")); stopifnot(nrow(read.csv("out/a.csv.gz")) == 10)
cat("everything works\\n")
"""


def test_S05_twin_everyday_r_works_under_the_list(
    executor: DockerExecutor, python_run: Make, r_v2_image: str
) -> None:
    run = python_run("", image_id=r_v2_image, entrypoint=("Rscript", "-e", EVERYDAY_R))
    ended = run_to_end(executor, run)
    assert ended.log.splitlines()[-1:] == [b"everything works"], ended.log.decode()[-2000:]
