"""The canary believes only what it saw: each thing that it looks at counts (threats.md section 2, S12).

The sandbox here does as the test says and meets the contract of `executors/base.py`. The real one:
tests/attacks/test_S_canary.py.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent import canary_record, canary_watch, clock
from jobrunner.agent.canary import Verdict, candidates, examine
from jobrunner.agent.policy import Site, load_site
from jobrunner.executors.base import ActionRun, EngineError, Exit, SandboxRefused
from tests.agent.policies import IMAGE_ID, write_site
from tests.agent.test_canary_findings import GOOD

pytestmark = pytest.mark.unit

OTHER_IMAGE = f"sha256:{'e' * 64}"
ENDED = Exit(status=0, out_of_memory=False, out_of_time=False, out_of_disk=False, started=1, finished=2)
KILLED = replace(ENDED, status=137, out_of_memory=True)


class Sandbox:
    """Runs nothing: `report` is what its probe tells, `ends` how its two runs end."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.sizes: dict[str, int | None] = {IMAGE_ID: 10}
        self.report: Callable[[ActionRun], str] = self.good
        self.written = "written\n"
        self.ends = {"walls": ENDED, "memory": KILLED}
        self.meanwhile: Callable[[ActionRun], None] = lambda _run: None
        self.refused: Exception | None = None
        self.there: set[str] = set()
        self.tried_images: list[str] = []

    def good(self, run: ActionRun) -> str:
        values = GOOD | {"user": f"{run.uid} {run.uid} {run.gid} {run.gid}"}
        return "".join(f"{name} {value}\n" for name, value in values.items())

    def image_size(self, image_id: str) -> int | None:
        return self.sizes.get(image_id)

    def engine_version(self) -> str:
        return "1"

    def prepare(self, run: ActionRun) -> None:
        if self.refused is not None:
            raise self.refused
        self.there.add(run.name)
        self.tried_images.append(run.image_id)

    def start(self, run: ActionRun) -> None:
        if run.argv[1] == "walls":
            self.meanwhile(run)

    def wait(self, run: ActionRun, deadline_s: float) -> Exit:
        assert deadline_s <= run.limits.wall_clock_s
        return self.ends[run.argv[1]]

    @contextmanager
    def open_outputs(self, run: ActionRun) -> Iterator[int]:
        folder = self.work / run.name / "out"
        folder.mkdir(parents=True)
        (folder / "written.txt").write_text(self.written)
        (folder / "seen.txt").write_text(self.report(run))
        fd = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def clean_up(self, run: ActionRun) -> None:
        self.there.discard(run.name)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    images = {"a:v1": {"id": IMAGE_ID, "entrypoint": ["x"]}, "b:v1": {"id": OTHER_IMAGE, "entrypoint": ["x"]}}
    made = load_site(write_site(tmp_path / "site", images=images, mode="test"))
    for folder in (made.state, made.cache):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return made


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path / "outputs")


def look(site: Site, sandbox: Sandbox) -> Verdict:
    verdict = examine(site, sandbox)  # type: ignore[arg-type]
    assert sandbox.there == set(), "the canary left something behind"
    return verdict


def open_walls(verdict: Verdict) -> set[str]:
    assert not verdict.passed
    return {one.name for one in verdict.tried if not one.held}


def test_a_sandbox_that_holds_passes(site: Site, sandbox: Sandbox) -> None:
    verdict = look(site, sandbox)
    assert verdict.sentence == ""
    assert verdict.passed
    assert (verdict.image_id, sandbox.tried_images) == (IMAGE_ID, [IMAGE_ID, IMAGE_ID])


def test_memory_that_was_not_bounded_is_seen(site: Site, sandbox: Sandbox) -> None:
    sandbox.ends["memory"] = ENDED
    assert open_walls(look(site, sandbox)) == {"memory"}


def test_a_job_that_reaches_a_listener_of_the_host_is_heard(site: Site, sandbox: Sandbox) -> None:
    def reach(run: ActionRun) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
            out.connect(f"\0{run.argv[2]}")

    sandbox.meanwhile = reach
    assert open_walls(look(site, sandbox)) == {"heard"}


def test_a_tree_that_changed_is_seen(site: Site, sandbox: Sandbox) -> None:
    sandbox.meanwhile = lambda run: os.truncate(run.tree / "given.txt", 3)
    assert open_walls(look(site, sandbox)) == {"tree"}


def test_an_ordinary_job_that_could_not_write_is_seen(site: Site, sandbox: Sandbox) -> None:
    sandbox.written = ""
    assert "folder" in open_walls(look(site, sandbox))


@pytest.mark.parametrize("ended", [replace(ENDED, status=1), replace(ENDED, out_of_time=True)])
def test_a_probe_that_does_not_come_to_its_end_proves_nothing(
    site: Site, sandbox: Sandbox, ended: Exit
) -> None:
    sandbox.ends["walls"] = ended
    verdict = look(site, sandbox)
    assert not verdict.passed
    assert "could not be run" in verdict.sentence


@pytest.mark.parametrize("error", [SandboxRefused("runtime", "none"), EngineError("away"), OSError("full")])
def test_a_sandbox_that_cannot_be_had_has_not_held(site: Site, sandbox: Sandbox, error: Exception) -> None:
    sandbox.refused = error
    assert not look(site, sandbox).passed


def test_an_image_without_perl_is_left_for_the_next_larger_one(site: Site, sandbox: Sandbox) -> None:
    sandbox.ends["walls"] = replace(ENDED, status=127)
    sandbox.sizes = {IMAGE_ID: 10, OTHER_IMAGE: 5}
    verdict = look(site, sandbox)
    assert sandbox.tried_images == [OTHER_IMAGE, OTHER_IMAGE, IMAGE_ID, IMAGE_ID]
    assert not verdict.passed
    assert "perl" in verdict.sentence


# --- the record of an earlier look, which counts in mode test alone ---


@pytest.fixture
def about(site: Site, sandbox: Sandbox) -> dict[str, Any]:
    known = candidates(site, sandbox)  # type: ignore[arg-type]
    return canary_record.identity(known, sandbox.engine_version(), site.policy.sandbox.runtime)


@pytest.fixture
def good(site: Site, sandbox: Sandbox, about: dict[str, Any]) -> Verdict:
    verdict = look(site, sandbox)
    canary_record.keep(site.state, about, verdict)
    return verdict


def test_a_record_of_exactly_this_sandbox_counts(site: Site, about: dict[str, Any], good: Verdict) -> None:
    assert canary_record.trusted(site.state, about) == good


@pytest.mark.parametrize("part", ["images", "engine", "kernel", "runtime", "profile", "probe", "version"])
def test_a_record_of_another_sandbox_counts_for_nothing(
    site: Site, about: dict[str, Any], good: Verdict, part: str
) -> None:
    assert good.passed
    assert canary_record.trusted(site.state, about | {part: "other"}) is None


def test_a_record_of_a_sandbox_that_failed_counts_for_nothing(
    site: Site, about: dict[str, Any], good: Verdict
) -> None:
    failed = replace(good, tried=(replace(good.tried[0], held=False), *good.tried[1:]))
    canary_record.keep(site.state, about, failed)
    assert canary_record.trusted(site.state, about) is None


@pytest.mark.parametrize("age_s", [86_400, -1])
def test_a_record_counts_for_a_day(
    site: Site, about: dict[str, Any], good: Verdict, monkeypatch: pytest.MonkeyPatch, age_s: int
) -> None:
    monkeypatch.setattr(clock, "now", lambda: good.at + age_s)
    assert canary_record.trusted(site.state, about) is None


def test_a_record_that_others_may_have_written_counts_for_nothing(
    site: Site, about: dict[str, Any], good: Verdict
) -> None:
    record = site.state / canary_record.NAME
    record.chmod(0o620)
    assert canary_record.trusted(site.state, about) is None
    record.chmod(0o600)
    assert canary_record.trusted(site.state, about) == good
    if os.geteuid() == 0:
        os.chown(record, 1000, 1000)
        assert canary_record.trusted(site.state, about) is None


@pytest.mark.parametrize(("mode", "may", "looks"), [("test", True, 0), ("test", False, 1), ("dev", True, 1)])
def test_only_the_start_of_a_site_in_mode_test_takes_a_record(
    site: Site, sandbox: Sandbox, good: Verdict, mode: str, may: bool, looks: int
) -> None:
    before = len(sandbox.tried_images)
    site.policy = site.policy.model_copy(update={"mode": mode})
    assert canary_watch.try_sandbox(site, sandbox, may_trust_record=may).passed  # type: ignore[arg-type]
    assert len(sandbox.tried_images) == before + 2 * looks
    assert good.passed
