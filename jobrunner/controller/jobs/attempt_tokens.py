"""Attempt tokens: who may speak for one attempt of one job (threats.md P01).

A token outlives its lease. It is good until a newer claim of the job, and 30 days at most.
"""

from datetime import datetime, timedelta
from typing import Final

from django.core import signing

AUDIENCE: Final = "agent"
LIFETIME: Final = timedelta(days=30)
_SALT: Final = "jobrunner.attempt"


def issue(agent: str, job_id: str, attempt: int, *, now: datetime) -> str:
    """A token for one attempt, at most 256 bytes of URL-safe text."""
    ends = int((now + LIFETIME).timestamp())
    return signing.dumps([AUDIENCE, agent, job_id, attempt, ends], salt=_SALT)


def fits(token: str, agent: str, job_id: str, attempt: int, *, now: datetime) -> bool:
    """Whether we made this token for exactly that agent, job and attempt, and it has not ended."""
    try:
        audience, for_agent, for_job, for_attempt, ends = signing.loads(token, salt=_SALT)
    except (signing.BadSignature, ValueError):
        return False
    if audience != AUDIENCE:
        return False
    if for_agent != agent:
        return False
    if for_job != job_id:
        return False
    if for_attempt != attempt:
        return False
    return bool(now.timestamp() < ends)
