"""Publishing as a state machine: attempts that succeed, fail, come late or die anywhere."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jobrunner.privacy.outputs import CollectedFile, Collection, OutputsRefused
from jobrunner.privacy.records import RunRecord
from jobrunner.privacy.runs import RunFolder
from tests.privacy.making import HIGH, MODERATE, Site, facts
from tests.privacy.test_areas import in_child_killed_at

pytestmark = pytest.mark.unit

ACTIONS = ["one", "two"]
WORKSPACE = "prj-main-0a1b2c3d"


def finished(site: Site, number: int, attempt: int, action: str, paths: list[str], good: bool) -> RunRecord:
    """A run folder as collecting leaves it, without the cost of collecting."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    job = (letters[number // 26] + letters[number % 26]) * 13
    folder = RunFolder.create(site.high, job, attempt)
    files = []
    for path in paths:
        stored = folder.files / path
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_text(f"{job} {attempt} {path}")
        found = stored.stat()
        level = HIGH if path == "c.csv" else MODERATE
        files.append(
            CollectedFile(
                path, level, "0" * 64, found.st_size, stored, found.st_dev, found.st_ino, found.st_mtime_ns
            )
        )
    outcome = {} if good else {"exit_status": 1, "reason": "nonzero_exit"}
    return folder.finish(facts(action=action, **outcome), Collection(tuple(files), ()))


class Publishing(RuleBasedStateMachine):
    """The model: which run is current for each action, and which publish has still to be completed."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.site = Site(self.root)
        self.current: dict[str, RunRecord] = {}
        self.open: RunRecord | None = None
        self.jobs = 0
        self.numbers: dict[str, int] = {}
        self.highest: dict[str, int] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def _make(self, action: str, paths: list[str], good: bool, again: bool) -> RunRecord:
        last = self.current.get(action)
        if again and last is not None and last.attempt < 99:
            number = self.numbers[last.job_id]
            attempt = self.highest[last.job_id] + 1
        else:
            number, attempt = self.jobs, 1
            self.jobs += 1
        record = finished(self.site, number, attempt, action, paths, good)
        self.numbers[record.job_id] = number
        self.highest[record.job_id] = attempt
        return record

    def _free(self, record: RunRecord) -> bool:
        others = {
            output.path
            for action, run in self.current.items()
            if action != record.facts.action
            for output in run.outputs
        }
        for output in record.outputs:
            for other in others:
                mine, theirs = output.path.lower(), other.lower()
                if mine == theirs or mine.startswith(theirs + "/") or theirs.startswith(mine + "/"):
                    return False
        return True

    paths = st.lists(st.sampled_from(["a.csv", "d/b.csv", "c.csv"]), unique=True, min_size=1)
    odd_paths = st.lists(st.sampled_from(["A.csv", "d"]), unique=True, min_size=1)

    @rule(action=st.sampled_from(ACTIONS), paths=paths | odd_paths, again=st.booleans())
    def succeed(self, action: str, paths: list[str], again: bool) -> None:
        self._complete()
        record = self._make(action, paths, True, again)
        if self._free(record):
            assert self.site.publish(record)
            self.current[action] = record
        else:
            with pytest.raises(OutputsRefused):
                self.site.publish(record)

    @rule(action=st.sampled_from(ACTIONS), paths=paths, step=st.integers(1, 40))
    def be_killed(self, action: str, paths: list[str], step: int) -> None:
        self._complete()
        record = self._make(action, paths, True, False)
        if not self._free(record):
            return
        in_child_killed_at(step, lambda: self.site.publish(record))
        self.open = record

    @rule(action=st.sampled_from(ACTIONS), paths=paths)
    def fail(self, action: str, paths: list[str]) -> None:
        record = self._make(action, paths, False, False)
        with pytest.raises(ValueError):
            self.site.publish(record)

    @rule(action=st.sampled_from(ACTIONS))
    def come_late(self, action: str) -> None:
        self._complete()
        last = self.current.get(action)
        if last is not None and last.attempt > 1:
            assert not self.site.publish(replace(last, attempt=last.attempt - 1))

    def _complete(self) -> None:
        """What the agent does after a restart."""
        if self.open is not None:
            assert self.site.publish(self.open)
            self.current[self.open.facts.action] = self.open
            self.open = None

    @invariant()
    def views_are_what_is_current(self) -> None:
        found = self.site.areas.manifest(WORKSPACE)
        if self.open is not None:
            action = self.open.facts.action
            named = (found or {"actions": {}})["actions"].get(action)
            known = [self.open.job_id, *([self.current[action].job_id] if action in self.current else [])]
            assert named is None or named["job_id"] in known
            return
        if found is None:
            assert not self.current
            return
        expected = {
            output.path: (run.files / output.path).read_bytes()
            for run in self.current.values()
            for output in run.outputs
        }
        logs = {f"metadata/{action}.log" for action in self.current}
        view = self.site.view(self.site.high)
        assert {path: content for path, content in view.items() if path not in logs} == expected
        assert set(found["outputs"]) == set(expected)
        medium = self.site.view(self.site.medium)
        assert not any(content in medium.values() for content in expected.values())


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
