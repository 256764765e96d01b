"""Findings and reports: the values of disclosure-rules.md section 6.

A message never repeats a value of the file. `evidence` may hold values and stays in the site.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jobrunner.privacy import documents

SCHEMA = "jobrunner.disclosure.report/1"

BLOCK = "block"
NEEDS_JUSTIFICATION = "needs-justification"
NOTE = "note"
SEVERITIES = (NOTE, NEEDS_JUSTIFICATION, BLOCK)

_VERDICTS = {NOTE: "note", NEEDS_JUSTIFICATION: "attend", BLOCK: "stop"}
MOST_CELLS = 200


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the file. Tables, rows and columns count from 1; row 0 is the header. Line counts from 1."""

    table: int | None = None
    header: str | None = None
    cells: tuple[tuple[int, int], ...] = ()
    cell_total: int = 0
    line: int | None = None
    pointer: str | None = None
    element: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one rule. `id` and `fingerprint` are empty until `identified` fills them."""

    rule: str
    severity: str
    message: str
    suggestion: str
    location: Location = Location()
    confidence: str = "certain"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    base_severity: str = ""
    rule_version: str = "1"
    id: str = ""
    fingerprint: str = ""
    related: tuple[Mapping[str, Any], ...] = ()
    justification: Mapping[str, Any] | None = None
    exception: Mapping[str, Any] | None = None


def cells_location(
    table: int, header: str | None, cells: list[tuple[int, int]], line: int | None = None
) -> Location:
    """The location of many cells: all are counted, the first 200 are listed."""
    return Location(
        table=table, header=header, cells=tuple(cells[:MOST_CELLS]), cell_total=len(cells), line=line
    )


def identified(finding: Finding, path: str, sha256: str) -> Finding:
    """The finding with its id (rule, version, file hash, location) and fingerprint (values, not bytes)."""
    location = asdict(finding.location)
    identity = [finding.rule, finding.rule_version, sha256, location]
    likeness = [finding.rule, path, finding.location.table, finding.location.header, dict(finding.evidence)]
    return replace(
        finding,
        id=_digest(identity),
        fingerprint=_digest(likeness),
        base_severity=finding.base_severity or finding.severity,
    )


@dataclass(frozen=True, slots=True)
class FileReport:
    """All findings on one file. `rows` and `columns` are of its largest table, None where it has none.

    `rows` stops at the limit plus one. `verdict`: none, note, attend or stop.
    """

    path: str
    sha256: str
    bytes: int
    type_declared: str
    type_found: str
    tables: int
    rows: int | None
    columns: int | None
    rules_run: tuple[str, ...]
    rules_skipped: tuple[Mapping[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """The word for the worst finding."""
        if not self.findings:
            return "none"
        return _VERDICTS[max((one.severity for one in self.findings), key=SEVERITIES.index)]


@dataclass(frozen=True, slots=True)
class Report:
    """The report on the files of one job. `log` is kept apart: its path is no output's."""

    engine: str
    rulebook: Mapping[str, str]
    subject: Mapping[str, str]
    started: int
    finished: int
    files: tuple[FileReport, ...]
    log: FileReport | None

    @property
    def complete(self) -> bool:
        """Whether every enabled rule ran on every file: no SDC099 anywhere."""
        return not any(finding.rule == "SDC099" for one in self._all() for finding in one.findings)

    def to_json(self) -> bytes:
        """findings.json: schema jobrunner.disclosure.report/1, with the log as one of the files."""
        severities = [finding.severity for one in self._all() for finding in one.findings]
        content = {
            "schema": SCHEMA,
            "engine": {"version": self.engine},
            "rulebook": dict(self.rulebook),
            "subject": dict(self.subject),
            "started": self.started,
            "finished": self.finished,
            "complete": self.complete,
            "compared": [],
            "files": [{**as_data(one), "verdict": one.verdict} for one in self._all()],
            "totals": {
                "block": severities.count(BLOCK),
                "nj": severities.count(NEEDS_JUSTIFICATION),
                "note": severities.count(NOTE),
            },
        }
        return documents.dump(content)

    def _all(self) -> tuple[FileReport, ...]:
        return self.files + ((self.log,) if self.log else ())


def as_data(report: FileReport) -> dict[str, Any]:
    """A file report as plain values. Most have no finding, and then nothing is deep."""
    return asdict(report) if report.findings else documents.flat(report)


def file_report_from(data: Mapping[str, Any]) -> FileReport:
    """A file report from JSON that `asdict` made.

    Raises KeyError, TypeError, ValueError, AttributeError, OverflowError.
    """
    findings = []
    for one in data["findings"]:
        cells = tuple((int(row), int(column)) for row, column in one["location"]["cells"])
        location = Location(**{**one["location"], "cells": cells})
        finding = Finding(**{**one, "location": location, "related": tuple(one["related"])})
        if finding.severity not in SEVERITIES or not isinstance(finding.rule, str):
            raise ValueError("an unknown severity or rule")
        findings.append(finding)
    if not all(isinstance(data[count], int | None) for count in ("rows", "columns")):
        raise ValueError("a count that is no number")
    fields = {
        "rules_run": tuple(data["rules_run"]),
        "rules_skipped": tuple(data["rules_skipped"]),
        "findings": tuple(findings),
    }
    return FileReport(**{**data, **fields})


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
