"""A lying controller, the real agent as a process, and a study that is approved: where attacks take place."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.sync import outbox
from jobrunner.sync.identity import job_id as job_id_of
from jobrunner.sync.identity import new_id
from tests.agent.approvers import Approver, envelope, payload
from tests.agent.offers import offer_fields
from tests.agent.policies import write_site
from tests.evil_controller import replies
from tests.evil_controller.honest import poll_answer
from tests.evil_controller.running import RunningAgent
from tests.evil_controller.server import EvilController

PIPELINE = """\
version: "4.0"
actions:
  describe:
    run: python:v2 analysis/canary_script.py
    outputs:
      moderately_sensitive:
        table: output/canary_table.csv
  model:
    run: python:v2 analysis/canary_model.py
    outputs:
      moderately_sensitive:
        table: output/canary_model.csv
"""


@dataclass
class Scene:
    """A controller under our command, an agent that believes in nothing, a study that is approved."""

    controller: EvilController
    agent: RunningAgent
    approver: Approver
    url: str
    head: str

    def project(self) -> str:
        """A project that was never seen before."""
        return f"p{new_id()}"

    def approve(self, project: str, **changes: Any) -> str:
        """A good approval of the study for a project."""
        return envelope(payload(project=project, repos=[self.url], **changes), self.approver)

    def fields(self, **changes: Any) -> dict[str, Any]:
        """An offer of a new project that the agent would run."""
        project = changes.pop("project", None) or self.project()
        given = {"project": project, "repo": self.url, "commit": self.head}
        if "approval" not in changes:
            given["approval"] = self.approve(project)
        return offer_fields(**given | changes)

    def offer(self, *fields: dict[str, Any]) -> str:
        """Offer jobs once; returns the job id of the first."""
        self.controller.play("poll", replies.answer(poll_answer(*fields)))
        return job_id_of(fields[0]["request_id"], fields[0]["action"])

    def outcome(self, job: str, number: int = 1) -> tuple[str, str]:
        """Reason and detail of an attempt that has ended."""
        outcome = self.agent.ended(job, number).outcome
        assert outcome is not None
        return outcome.reason.value, outcome.detail

    def runs(self, job: str, number: int = 1) -> Attempt:
        """The attempt, as soon as its container runs."""
        self.agent.wait_until(lambda: self._step(job, number) is Step.WAIT)
        found = self.agent.journal.get(job, number)
        assert found is not None
        return found

    def cancel(self, job: str, number: int = 1) -> None:
        """End a running attempt, so that its slot is free."""
        cancels = [{"job_id": job, "attempt": number}]
        self.controller.play("poll", replies.answer(poll_answer(cancels=cancels)))
        assert self.outcome(job, number) == ("by_requester", "")

    def _step(self, job: str, number: int) -> Step | None:
        attempt = self.agent.journal.get(job, number)
        return None if attempt is None else attempt.step

    def claims(self, job: str) -> int:
        """How often a job was claimed."""
        return sum(json.loads(one.body)["job_id"] == job for one in self.controller.requests("claim"))

    def told(self, job: str) -> list[dict[str, Any]]:
        """All events of a job as they left, repeats included."""
        batches = [json.loads(request.body)["events"] for request in self.controller.requests("events")]
        return [event for batch in batches for event in batch if event["job_id"] == job]

    def all_told(self) -> None:
        """Wait until nothing is left in the outbox."""

        def empty() -> bool:
            with self.agent.journal.transaction() as connection:
                return outbox.waiting(connection) == 0

        self.agent.wait_until(empty)

    def polled_again(self) -> None:
        """Wait until two more polls came: what was answered before them has been looked at."""
        count = len(self.controller.requests("poll"))
        self.controller.wait_for(lambda: len(self.controller.requests("poll")) >= count + 2)


def site_of(
    folder: Path, controller: EvilController, approver: Approver, study_url: str, **changes: Any
) -> Path:
    """A site that trusts the approver and may fetch the study, with four places unless `changes` say else."""
    usual = {
        "controller__url": controller.url,
        "git__allowed": [study_url.rsplit("/", 1)[0]],
        "git__private_addresses": ["127.0.0.1"],
        "limits__slots": 4,
        "limits__cores": 0.25,
        "limits__memory_mib": 64,
        "limits__disk_mib": 64,
        "limits__inodes": 2000,
    }
    return write_site(folder, signers=approver.line(), **usual | changes)
