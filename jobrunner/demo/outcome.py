"""What a finished request left behind: the facts of the last table."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """One action. `seconds` is None while it is not known; `withheld` outputs did not pass the file rules."""

    action: str
    state: str
    reason: str
    why: str
    seconds: float | None
    highly_sensitive: tuple[str, ...]
    moderately_sensitive: tuple[str, ...]
    withheld: tuple[str, ...]
    log: Path | None

    @property
    def succeeded(self) -> bool:
        """Whether it did, and every output passed."""
        return self.state == "succeeded" and not self.withheld


def outcomes(high: Path, workspace: Path, found: dict[str, Any]) -> list[ActionOutcome]:
    """One value for each job of a request, as the controller's API and the site's manifest tell it.

    `workspace` is the study's folder in the area `high`.
    """
    manifest = workspace / "metadata" / "manifest.json"
    outputs: dict[str, Any] = {}
    if manifest.exists():
        outputs = json.loads(manifest.read_text(encoding="utf-8"))["outputs"]
    return [_outcome(high, workspace, outputs, job) for job in found["jobs"]]


def _outcome(high: Path, workspace: Path, outputs: dict[str, Any], job: dict[str, Any]) -> ActionOutcome:
    mine = {path: entry for path, entry in sorted(outputs.items()) if entry["job_id"] == job["job_id"]}
    run = high / "runs" / job["job_id"] / str(job["attempt"]) / "log"
    logs = (workspace / "metadata" / f"{job['action']}.log", run)
    return ActionOutcome(
        action=job["action"],
        state=job["state"],
        reason=job["reason"],
        why=job["why"],
        seconds=_seconds(job["started_at"], job["finished_at"]),
        highly_sensitive=tuple(p for p, e in mine.items() if e["level"] == "highly_sensitive"),
        moderately_sensitive=tuple(
            p for p, e in mine.items() if e["level"] == "moderately_sensitive" and not e["excluded"]
        ),
        withheld=tuple(p for p, e in mine.items() if e["excluded"]),
        log=next((log for log in (logs if mine else logs[1:]) if log.exists()), None),
    )


def _seconds(started: str | None, finished: str | None) -> float | None:
    if started is None or finished is None:
        return None
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
