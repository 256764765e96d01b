"""From findings to one decision per file: does it enter the medium area, and if not, why not."""

from typing import TypedDict

from jobrunner.privacy import notices
from jobrunner.privacy.disclosure.findings import BLOCK, FileReport, Report
from jobrunner.privacy.levels import HIGHLY
from jobrunner.privacy.outputs import CollectedFile

# Active pages need an airlock that can show them safely; until it is there they stay in the high area.
_HELD_SUFFIXES = (".html",)


class OutputVerdict(TypedDict):
    """The fields of `RunOutput` that checking decides."""

    row_count: int | None
    col_count: int | None
    excluded: bool
    message: str | None


class LogVerdict(TypedDict):
    """The fields of `RunLog` that checking decides."""

    excluded: bool
    message: str | None


def output_verdict(file: CollectedFile, checked: FileReport | None) -> OutputVerdict:
    """The verdict on one output. A moderately sensitive file that nobody checked is excluded."""
    if file.level == HIGHLY:
        return {"row_count": None, "col_count": None, "excluded": False, "message": None}
    # A report on other bytes says nothing about these.
    if checked is not None and checked.sha256 != file.sha256:
        checked = None
    rules = _blocking(checked)
    if not rules and file.path.lower().endswith(_HELD_SUFFIXES):
        rules = [notices.HELD]
    return {
        "row_count": checked.rows if checked else None,
        "col_count": checked.columns if checked else None,
        "excluded": bool(rules),
        "message": notices.message(rules) if rules else None,
    }


def log_verdict(report: Report | None, tail_sha256: str) -> LogVerdict:
    """The verdict on the log. A tail that nobody checked, or that has grown since, is excluded."""
    checked = report.log if report else None
    if checked is not None and checked.sha256 != tail_sha256:
        checked = None
    rules = _blocking(checked)
    return {"excluded": bool(rules), "message": notices.message(rules) if rules else None}


def _blocking(checked: FileReport | None) -> list[str]:
    if checked is None:
        return [notices.UNCHECKED]
    return [finding.rule for finding in checked.findings if finding.severity == BLOCK]
