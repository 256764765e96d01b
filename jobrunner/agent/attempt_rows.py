"""One attempt of one job, as the journal keeps it: a row of its table."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from jobrunner.agent.outcome import Outcome
from jobrunner.sync.messages import Offer
from jobrunner.sync.vocabulary import ExitClass, Reason

SCHEMA: Final = """
CREATE TABLE attempts (
    job_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    offer TEXT NOT NULL,
    token TEXT,
    lease_s INTEGER,
    boot_id TEXT NOT NULL,
    step TEXT NOT NULL,
    facts TEXT NOT NULL DEFAULT '{}',
    outcome TEXT,
    cancel TEXT,
    superseded INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT;
CREATE INDEX attempts_open ON attempts (step) WHERE step <> 'done'
"""

COLUMNS: Final = (
    "job_id, attempt, offer, token, lease_s, boot_id, step, facts, outcome, cancel, superseded, created"
)


class Step(StrEnum):
    """The linear procedure of one attempt (design.md section 5). The journal holds the step being done."""

    ACCEPT = "accept"
    VERIFY = "verify"
    FETCH = "fetch"
    STAGE = "stage"
    START = "start"
    WAIT = "wait"
    COLLECT = "collect"
    DELIVER = "deliver"
    CLEAN_UP = "clean_up"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the journal. `facts` is what finished steps found, as JSON values by name."""

    job_id: str
    number: int
    offer: Offer
    token: str | None
    lease_s: int | None
    boot_id: str
    step: Step
    facts: dict[str, Any]
    outcome: Outcome | None
    cancel: Reason | None
    superseded: bool
    created: int

    @property
    def key(self) -> tuple[str, int]:
        """Job id and attempt number."""
        return (self.job_id, self.number)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A granted claim: the attempt number and token that the controller gave, and the agent's first facts."""

    number: int
    token: str
    seconds: int
    facts: dict[str, Any]


def _read_outcome(text: str | None) -> Outcome | None:
    if text is None:
        return None
    values = json.loads(text)
    return Outcome(
        ExitClass(values["exit_class"]), Reason(values["reason"]), values["detail"], values["message"]
    )


def read(row: tuple[Any, ...]) -> Attempt:
    """The attempt of a row of these COLUMNS."""
    return Attempt(
        job_id=row[0],
        number=row[1],
        offer=Offer.model_validate_json(row[2]),
        token=row[3],
        lease_s=row[4],
        boot_id=row[5],
        step=Step(row[6]),
        facts=json.loads(row[7]),
        outcome=_read_outcome(row[8]),
        cancel=None if row[9] is None else Reason(row[9]),
        superseded=bool(row[10]),
        created=row[11],
    )
