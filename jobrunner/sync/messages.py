"""Every message between agent and controller, one closed class each (walls W1 and W2 of threats.md).

A message is built from these classes only, never by removing fields from something larger. An unknown
field is an error on both sides. Times are whole seconds UTC.
"""

from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from jobrunner.sync import strict_json
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ErrorCode, ExitClass, Reason, Runtime, Stage

PROTOCOL: Final = 1
USER_AGENT: Final = "jobrunner-agent/1"
ATTEMPT_HEADER: Final = "Jobrunner-Attempt"

MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_REPLY_BYTES: Final = 512 * 1024
MAX_EVENT_BYTES: Final = 1024
MAX_EVENTS: Final = 64
MAX_OFFERS: Final = 16
MAX_APPROVAL_BYTES: Final = 16 * 1024
MAX_TOKEN_BYTES: Final = 256
MAX_ATTEMPT: Final = 99
LONG_POLL_S: Final = 25


def _at_most_bytes(limit: int) -> Any:
    def check(value: str) -> str:
        if len(value.encode("utf-8", "surrogatepass")) > limit:
            raise ValueError(f"longer than {limit} bytes")
        return value

    return AfterValidator(check)


Id26 = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{26}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
Hex40 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[int, Field(ge=0, le=2**40)]
AttemptNumber = Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]
RepoUrl = Annotated[str, StringConstraints(min_length=1), _at_most_bytes(300)]
BranchName = Annotated[str, StringConstraints(min_length=1), _at_most_bytes(200)]
ActionId = Annotated[str, StringConstraints(min_length=1), _at_most_bytes(128)]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:=-]+$"), _at_most_bytes(MAX_TOKEN_BYTES)]


class Malformed(ValueError):
    """Bytes that are not the message they should be; `unknown_field` when a field was too many."""

    def __init__(self, message: str, *, unknown_field: bool = False) -> None:
        super().__init__(message)
        self.unknown_field = unknown_field


class Message(BaseModel):
    """Base of all messages: frozen, strict, closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    limit: ClassVar[int] = MAX_REQUEST_BYTES

    def to_bytes(self) -> bytes:
        """The message as JSON in UTF-8."""
        return self.model_dump_json().encode("utf-8")


M = TypeVar("M", bound=Message)


def parse(kind: type[M], raw: bytes) -> M:
    """Read one message of the given class; raises Malformed for anything else."""
    try:
        strict_json.parse(raw, limit=kind.limit)
        return kind.model_validate_json(raw)
    except strict_json.NotStrictJson as error:
        raise Malformed(str(error)) from error
    except ValidationError as error:
        unknown = any(item["type"] == "extra_forbidden" for item in error.errors(include_url=False))
        # The error's own text would quote what the peer sent; its places and kinds do not.
        places = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'message'}: {item['type']}"
            for item in error.errors(include_url=False, include_input=False)[:5]
        )
        raise Malformed(places, unknown_field=unknown) from error


# --- agent to controller (W1) ---


class Hello(Message):
    """Who the agent is and what it can do; sent once at its start."""

    agent_id: Slug
    protocol: Annotated[int, Field(ge=1, le=1000)]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,32}$")]
    runtimes: Annotated[tuple[Runtime, ...], Field(max_length=2)]
    policy_digest: Hex64


class Slots(Message):
    """Free places on the agent: `plain` is all of them; `db` how many more may be database actions."""

    db: Annotated[int, Field(ge=0, le=64)]
    plain: Annotated[int, Field(ge=0, le=64)]


class Poll(Message):
    """Asks for offers; the controller may hold the answer for up to LONG_POLL_S."""

    accepting: bool
    slots: Slots


class Claim(Message):
    """Asks for a job. `attempt` is the lowest number the agent can still use for it."""

    job_id: Id26
    attempt: AttemptNumber


class Renew(Message):
    """Keeps the lease of a running attempt."""

    job_id: Id26
    attempt: AttemptNumber


class Event(Message):
    """One thing that happened to one attempt, signed by the agent.

    While an attempt runs, `reason` repeats the stage, `started` is the second in which the stage began and
    `finished` is null. When it has ended, `started` is the second in which the action started to run (null
    if it never did) and `finished` the second in which the attempt ended.
    """

    event_id: Id26
    job_id: Id26
    attempt: AttemptNumber
    stage: Stage
    exit_class: ExitClass | None
    reason: Reason
    started: Seconds | None
    finished: Seconds | None
    signature: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{86}==$")]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.stage is Stage.ENDED:
            if self.exit_class is None or self.reason not in REASONS_OF_EXIT[self.exit_class]:
                raise ValueError("the reason is not one of this exit class")
            if self.finished is None:
                raise ValueError("an ended attempt has a finishing time")
        elif self.exit_class is not None or self.reason != self.stage.value or self.finished is not None:
            raise ValueError("a running attempt has no exit class and no finishing time")
        return self


class Events(Message):
    """A batch of events of one attempt, in order."""

    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=MAX_EVENTS)]

    @model_validator(mode="after")
    def _one_attempt(self) -> Self:
        if len({(event.job_id, event.attempt) for event in self.events}) != 1:
            raise ValueError("a batch carries events of one attempt")
        return self


# --- controller to agent, only as a reply (W2) ---


class Offer(Message):
    """Identifiers of a job that the agent may claim, and the approval it falls under. Nothing to run."""

    request_id: Id26
    project: Slug
    repo: RepoUrl
    branch: BranchName
    commit: Hex40
    action: ActionId
    approval: Annotated[str, _at_most_bytes(MAX_APPROVAL_BYTES)] | None


class Lease(Message):
    """An attempt that now belongs to the agent; the token comes with a claim's answer only."""

    attempt: AttemptNumber
    seconds: Annotated[int, Field(ge=60, le=3600)]
    token: Token | None


class Cancel(Message):
    """The attempt shall stop."""

    job_id: Id26
    attempt: AttemptNumber


class HelloReply(Message):
    """The controller speaks the agent's protocol."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    protocol: Annotated[int, Field(ge=1, le=1000)]


class PollReply(Message):
    """What the agent may claim, must stop, and whether it shall pause."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    offers: Annotated[tuple[Offer, ...], Field(max_length=MAX_OFFERS)]
    cancels: Annotated[tuple[Cancel, ...], Field(max_length=64)]
    pause: bool
    retry_after: Annotated[int, Field(ge=1, le=300)] | None


class ClaimReply(Message):
    """The lease of a claimed job, with its attempt token."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    lease: Lease


class RenewReply(Message):
    """The renewed lease."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    lease: Lease
    cancels: Annotated[tuple[Cancel, ...], Field(max_length=64)]


class EventsReply(Message):
    """Which events are stored for good; with the end of a job come the next offers, so no poll is needed."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    acks: Annotated[tuple[Id26, ...], Field(max_length=MAX_EVENTS)]
    offers: Annotated[tuple[Offer, ...], Field(max_length=MAX_OFFERS)]
    cancels: Annotated[tuple[Cancel, ...], Field(max_length=64)]
    pause: bool


class ErrorReply(Message):
    """Why a message was not taken."""

    limit: ClassVar[int] = MAX_REPLY_BYTES
    error: ErrorCode
