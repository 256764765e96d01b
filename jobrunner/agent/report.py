"""What the agent tells about an attempt: signed events, and nothing that is not in their closed class."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent import clock
from jobrunner.agent.outcome import Outcome
from jobrunner.sync.identity import new_id
from jobrunner.sync.messages import Event
from jobrunner.sync.signing import sign_event
from jobrunner.sync.vocabulary import Reason, Stage


class Reporter:
    """Makes events for attempts. Times are rounded down to the site's grain."""

    def __init__(self, key: Ed25519PrivateKey, time_grain_s: int) -> None:
        self._key = key
        self._grain = time_grain_s

    def stage(self, job_id: str, attempt: int, stage: Stage, second: int | None = None) -> Event:
        """The attempt entered a stage that is not its end."""
        return sign_event(
            self._key,
            event_id=new_id(),
            job_id=job_id,
            attempt=attempt,
            stage=stage,
            exit_class=None,
            reason=Reason(stage.value),
            started=self._coarse(clock.now() if second is None else second),
            finished=None,
        )

    def ended(
        self, job_id: str, attempt: int, outcome: Outcome, *, started: int | None, finished: int | None = None
    ) -> Event:
        """The attempt ended; only exit class and reason of the outcome leave."""
        return sign_event(
            self._key,
            event_id=new_id(),
            job_id=job_id,
            attempt=attempt,
            stage=Stage.ENDED,
            exit_class=outcome.exit_class,
            reason=outcome.reason,
            started=None if started is None else self._coarse(started),
            finished=self._coarse(clock.now() if finished is None else finished),
        )

    def _coarse(self, second: int) -> int:
        return clock.coarse(second, self._grain)
