"""The agent's side of the wire: one bounded HTTP call per message, never retried here.

The layer above retries, with a budget per call. Anything that is not a well-formed answer of the controller
(a proxy's page, a redirect, a cut body) means "try again later", never an answer (threats.md section 7, P05).
"""

from dataclasses import dataclass
from typing import Final, TypeVar

from jobrunner.sync import messages
from jobrunner.sync.line import Line, NoAnswer
from jobrunner.sync.messages import (
    ATTEMPT_HEADER,
    LONG_POLL_S,
    MAX_REPLY_BYTES,
    USER_AGENT,
    Claim,
    ClaimReply,
    ErrorReply,
    Events,
    EventsReply,
    Hello,
    HelloReply,
    Malformed,
    Message,
    Poll,
    PollReply,
    Renew,
    RenewReply,
)
from jobrunner.sync.vocabulary import ErrorCode

_ANSWER_S: Final = 30.0

R = TypeVar("R", bound=Message)


class Unanswered(Exception):
    """No usable answer came. Try again later; the text is for the site's own log only."""


class Rejected(Exception):
    """The controller answered that it will not take this message."""

    def __init__(self, status: int, code: ErrorCode) -> None:
        super().__init__(f"{status} {code.value}")
        self.status = status
        self.code = code


class BrokenReply(Exception):
    """A reply with a field or value outside the closed list: a lie or another protocol, never repaired."""

    def __init__(self, problem: Malformed) -> None:
        super().__init__(str(problem))
        self.unknown_field = problem.unknown_field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the controller is, how the agent proves itself, and whom it trusts.

    Without `ca_file` those are the public authorities.
    """

    url: str
    credential: str
    ca_file: str | None = None


class AgentClient:
    """Calls of one agent. Not shared between threads: each loop has its own.

    `answer_s` is how long a call may wait for its answer, in seconds; a poll may wait LONG_POLL_S more.
    """

    def __init__(self, endpoint: Endpoint, *, answer_s: float = _ANSWER_S) -> None:
        self._answer_s = answer_s
        self._base = f"{endpoint.url}/api/v1/agent"
        self._line = Line(self._base, endpoint.ca_file)
        # The headers that may leave are this closed list; the connection adds Host and Content-Length.
        self._headers = {
            "Authorization": f"Bearer {endpoint.credential}",
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }

    def hello(self, message: Hello) -> HelloReply:
        """Introduce the agent."""
        return self._call("hello", message, HelloReply)

    def poll(self, message: Poll) -> PollReply:
        """Ask for offers; answers after LONG_POLL_S at the latest."""
        return self._call("poll", message, PollReply, held_s=LONG_POLL_S)

    def claim(self, message: Claim) -> ClaimReply:
        """Ask for one job."""
        return self._call("claim", message, ClaimReply)

    def renew(self, message: Renew, token: str) -> RenewReply:
        """Keep the lease of an attempt."""
        return self._call("renew", message, RenewReply, token=token)

    def events(self, message: Events, token: str) -> EventsReply:
        """Deliver events of one attempt."""
        return self._call("events", message, EventsReply, token=token)

    def close(self) -> None:
        """Give the connections back."""
        self._line.close()

    def _call(
        self,
        name: str,
        message: Message,
        answer: type[R],
        *,
        token: str | None = None,
        held_s: float = 0.0,
    ) -> R:
        headers = self._headers if token is None else {**self._headers, ATTEMPT_HEADER: token}
        try:
            came = self._line.post(
                f"/{name}",
                message.to_bytes(),
                headers,
                head_s=held_s + self._answer_s,
                body_s=self._answer_s,
                limit=MAX_REPLY_BYTES,
            )
        except NoAnswer as problem:
            raise Unanswered(f"{self._base}/{name}: {problem}"[:400]) from problem
        status = came.status
        if came.encoding != "identity":
            raise Unanswered("a compressed answer")
        if 300 <= status < 400:
            raise Unanswered(f"a redirect (status {status}), which is not followed")
        if came.kind != "application/json":
            raise Unanswered(f"status {status} and no JSON")
        if status == 200:
            try:
                return messages.parse(answer, came.body)
            except Malformed as problem:
                raise BrokenReply(problem) from problem
        try:
            refusal = messages.parse(ErrorReply, came.body)
        except Malformed as problem:
            raise Unanswered(f"status {status} and an unknown body") from problem
        if refusal.error in (ErrorCode.SLOW_DOWN, ErrorCode.LOCKED) or not 400 <= status < 500:
            raise Unanswered(refusal.error.value)
        raise Rejected(status, refusal.error)
