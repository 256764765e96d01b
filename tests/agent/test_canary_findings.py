"""What the canary tells is judged: only the expected answer counts as a wall that held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.agent.canary import LIMITS, Verdict
from jobrunner.agent.canary_findings import WALLS, judged
from jobrunner.executors.base import JOB_UIDS, ActionRun
from tests.executors.test_base import RUN

pytestmark = pytest.mark.unit

CANARY = ActionRun(
    agent_id=RUN.agent_id, job_id=RUN.job_id, attempt=1, image_id=RUN.image_id, entrypoint=("perl",), argv=(),
    uid=JOB_UIDS[-1], gid=JOB_UIDS[-1], tree=RUN.tree, limits=LIMITS,
)  # fmt: skip
GOOD = {
    "folder": "ok", "user": f"{CANARY.uid} {CANARY.uid} {CANARY.gid} {CANARY.gid}", "capabilities": "0" * 80,
    "no_new_privileges": "1", "filter": "2", "interfaces": "lo", "reach_documentation": "101",
    "reach_metadata": "101", "reach_abstract": "111", "open_files": "100", "tmp_bytes": "4194304",
    "disk_counters": "none", "load_counters": "none",
    "shm_bytes": "1", "tmp_files": "255", "disk_bytes": "16000000", "files": "990", "processes": "30",
} | {name: "1" for name in WALLS if name.startswith(("socket_", "call_", "write_", "engine_"))}  # fmt: skip


def open_walls(values: dict[str, str], more: str = "") -> set[str]:
    report = "".join(f"{name} {value}\n" for name, value in values.items()) + more
    return {one.name for one in judged(report.encode(), CANARY) if not one.held}


def test_a_report_of_walls_that_held_is_good() -> None:
    assert open_walls(GOOD) == set()


@pytest.mark.parametrize("name", WALLS)
@pytest.mark.parametrize("value", ["0", "", "x", "99999999999", "-1", "lo,eth0"])
def test_any_other_answer_is_an_open_wall(name: str, value: str) -> None:
    any_error_will_do = name.startswith(("reach_abstract", "socket_", "write_", "engine_"))
    wanted = set() if any_error_will_do and value == "99999999999" else {name}
    assert open_walls(GOOD | {name: value}) == wanted


@pytest.mark.parametrize("name", WALLS)
def test_a_missing_or_doubled_line_is_an_open_wall(name: str) -> None:
    assert open_walls({other: value for other, value in GOOD.items() if other != name}) == {name}
    assert open_walls(GOOD, f"{name} {GOOD[name]}\n") == {name}


def test_a_line_that_was_not_asked_for_is_an_open_wall() -> None:
    assert open_walls(GOOD, "more 1\n") == {"report"}


@given(st.binary(max_size=400))
def test_no_other_report_is_good(report: bytes) -> None:
    assert not all(one.held for one in judged(report, CANARY))


def test_a_verdict_passes_only_when_something_was_tried() -> None:
    assert not Verdict("runc", "", 0, ()).passed
    assert "none was tried" in Verdict("runc", "", 0, ()).sentence
    assert not Verdict("runc", "", 0, judged(b"", CANARY), "gone").passed
