from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobrunner.study import CommitNotFound, TreeRefused, Unreachable
from jobrunner.study.fetch_report import FetchReport, judge, read_report

pytestmark = pytest.mark.unit

MISSING = ("couldn't find remote ref %s", "couldn't find remote ref refs/heads/x")
FAULT = ("fsck error in packed object", "fsck error in packed object")


def test_nothing_is_final_from_a_host_that_did_not_speak_git() -> None:
    for status, errors in ((128, (MISSING,)), (0, ()), (128, (FAULT,))):
        assert type(judge(status, FetchReport(False, errors), "h")) is Unreachable


def test_final_answers_of_a_host_that_did() -> None:
    assert judge(0, FetchReport(True, ()), "h") is None
    assert isinstance(judge(128, FetchReport(True, (MISSING,)), "h"), CommitNotFound)
    too_large = FetchReport(True, (("write error: %s", "write error: File too large"),))
    assert getattr(judge(128, too_large, "h"), "detail", None) == "too_large"


@pytest.mark.parametrize(
    ("fault", "detail"),
    [("gitmodulesName", "gitlink"), ("gitmodulesSymlink", "symlink"), ("hasDotgit", "name"), ("x y", "name")],
)
def test_a_fault_of_an_object_has_its_word(fault: str, detail: str) -> None:
    error = judge(128, FetchReport(True, (("object %s: %s", f"object {'a' * 40}: {fault}: b"), FAULT)), "h")

    assert isinstance(error, TreeRefused)
    assert error.detail == detail


def test_unknown_errors_are_tried_again() -> None:
    assert isinstance(judge(128, FetchReport(True, (("new words", "new words"),)), "h"), Unreachable)
    assert isinstance(judge(128, FetchReport(True, ()), "h"), Unreachable)


def test_a_trace_is_read_line_by_line(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lines = [
        json.dumps({"event": "data", "key": "negotiated-version", "value": "2"}),
        "not json",
        "[]",
        json.dumps({"event": "error", "fmt": "a %s", "msg": "a b"}),
        '{"event": "err',
    ]
    trace.write_text("\n".join(lines))

    assert read_report(trace) == FetchReport(True, (("a %s", "a b"),))
    assert read_report(tmp_path / "none") == FetchReport(False, ())
