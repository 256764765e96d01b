"""What `jobrunner agent attest` says of a sandbox that holds, and of one that does not (row S12)."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.agent_key import agent_key
from jobrunner.agent.attest import CannotAttest, try_site, verified, write_signed
from jobrunner.agent.attestation import Standing
from jobrunner.agent.canary import examine
from jobrunner.agent.policy import load_site
from jobrunner.executors.docker import DockerExecutor
from jobrunner.sync.signing import public_key_text
from tests.attacks.test_S_canary import Make, liar, site
from tests.fixtures.engine_proxy import EngineProxy

__all__ = ["liar", "site"]

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

ATTEST = [sys.executable, "-m", "jobrunner.cli.main", "agent", "attest"]


def attest(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ATTEST, *map(str, words)], capture_output=True, text=True, check=False, timeout=120
    )


def policy_of(tmp_path: Path) -> Path:
    return tmp_path / "site" / "agent.toml"


def label(tmp_path: Path) -> str:
    """What the containers of this site's attestations carry."""
    place = (tmp_path / "site" / "cache" / "attest").resolve()
    return f"jobrunner.agent=attest-{hashlib.sha256(bytes(place)).hexdigest()[:32]}"


def left_behind(engine: Any, tmp_path: Path) -> list[str]:
    """Containers, volumes, mounts and files of any attempt of this site."""
    work = tmp_path / "site" / "cache" / "attest" / "work"
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
    files = [str(place) for folder in ("attempts", "uids") for place in (work / folder).iterdir()]
    containers = [one["Id"] for one in engine.containers(all=True, filters={"label": label(tmp_path)})]
    return [*mounts, *files, *containers]


@pytest.fixture(autouse=True)
def nothing_stays(engine: Any, tmp_path: Path) -> Iterator[None]:
    """Even when a test fails."""
    yield
    work = tmp_path / "site" / "cache" / "attest" / "work"
    if work.exists() and left_behind(engine, tmp_path):
        executor = DockerExecutor(work)
        executor.sweep(label(tmp_path).partition("=")[2], keep=())
        executor.close()


def test_S12_twin_the_report_of_a_sandbox_that_holds(engine: Any, site: Make, tmp_path: Path) -> None:
    made = site()
    report = tmp_path / "report.txt"
    with ThreadPoolExecutor(1) as beside:
        # The agent tries the same at the same time, and neither is in the other's way.
        executor = DockerExecutor(tmp_path / "own")
        own = beside.submit(examine, made, executor)
        done = attest(policy_of(tmp_path), "--output", report)
        assert own.result().sentence == ""
        executor.close()
    assert done.returncode == 0, done.stderr
    assert "EVERY WALL HELD: 40 of 40 attempts, in 1 image." in done.stdout
    text = report.read_text()
    image_id = made.policy.images["python:v2"].id
    for fact in (made.digest, image_id, "runc 1.", "Engine ", "killed, limit 128 MiB"):
        assert fact in text
    assert left_behind(engine, tmp_path) == []

    key = public_key_text(agent_key(made))
    good = attest("--verify", report, "--key", key)
    assert (good.returncode, "EVERY WALL HELD" in good.stdout) == (0, True)
    report.write_text(text.replace("40 of 40", "39 of 40"))
    bad = attest("--verify", report, "--key", key)
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (1, "", 1)
    assert "it was altered" in bad.stderr
    again = attest(policy_of(tmp_path), "--output", report)
    assert (again.returncode, "was left as it is" in again.stderr) == (1, True)


def test_S12_a_wall_that_the_engine_only_claims_is_in_the_signed_report(
    liar: tuple[EngineProxy, Callable[..., None]], site: Make, tmp_path: Path
) -> None:
    proxy, drop = liar
    drop("PidsLimit")
    made = site()
    found = try_site(made, proxy.url)
    assert not found.attestation.held
    write_signed(made, found.attestation, tmp_path / "report.txt")
    said, _where = verified(tmp_path / "report.txt", agent_key(made).public_key())
    assert said.startswith("NOT EVERY WALL HELD")
    text = (tmp_path / "report.txt").read_text()
    assert "\n  OPEN in python:v2: start more processes than the limit\n" in text


def test_S12_a_sandbox_that_cannot_be_tried_is_reported_and_the_reason_stays_inside(
    engine: Any, site: Make, tmp_path: Path, canary_image: str
) -> None:
    del engine
    unknown, without_perl = f"sha256:{'1' * 64}", canary_image
    images = {
        name: {"id": image_id, "entrypoint": ["/x"]}
        for name, image_id in (("a:v1", unknown), ("b:v1", without_perl))
    }
    site(images=images)
    report = tmp_path / "one.txt"
    done = attest(policy_of(tmp_path), "--output", report)
    assert (done.returncode, "NOTHING IS SHOWN" in done.stderr) == (1, True)
    assert f"a:v1  {unknown}\n  {Standing.ABSENT.value}." in report.read_text()
    assert f"b:v1  {without_perl}\n  {Standing.NO_PERL.value}." in report.read_text()

    site(sandbox__runtime="runsc")
    report = tmp_path / "two.txt"
    done = attest(policy_of(tmp_path), "--output", report)
    assert done.returncode == 1
    assert "Not tried: python:v2: the canary was refused by runtime" in done.stderr
    assert Standing.BROKEN.value in report.read_text()
    assert "the engine would not" not in report.read_text()
    verified(report, agent_key(load_site(policy_of(tmp_path))).public_key())


def test_S12_one_that_was_killed_leaves_nothing_for_the_next(engine: Any, site: Make, tmp_path: Path) -> None:
    made = site()
    process = subprocess.Popen(
        [*ATTEST, str(policy_of(tmp_path)), "--output", str(tmp_path / "x.txt")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not engine.containers(filters={"label": label(tmp_path)}):
            assert time.monotonic() < until
            time.sleep(0.05)
        with pytest.raises(CannotAttest, match="another `agent attest`"):
            try_site(made)
    finally:
        process.kill()
        process.wait()
    assert left_behind(engine, tmp_path) != []
    assert try_site(made).attestation.held
    assert left_behind(engine, tmp_path) == []
