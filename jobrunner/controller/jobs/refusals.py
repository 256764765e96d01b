"""How a message of an agent is refused: an HTTP status and one word of the closed list (wall W2)."""

from typing import Final, NamedTuple

from jobrunner.sync.vocabulary import ErrorCode


class Answer(NamedTuple):
    """A status with its word."""

    status: int
    code: ErrorCode


MALFORMED: Final = Answer(400, ErrorCode.BAD_REQUEST)
NO_CREDENTIAL: Final = Answer(401, ErrorCode.BAD_REQUEST)
FORBIDDEN: Final = Answer(403, ErrorCode.BAD_REQUEST)
NOT_FOUND: Final = Answer(404, ErrorCode.BAD_REQUEST)
OTHER_BODY: Final = Answer(409, ErrorCode.BAD_REQUEST)
STALE: Final = Answer(409, ErrorCode.STALE_ATTEMPT)
TAKEN: Final = Answer(409, ErrorCode.TAKEN)
UNKNOWN_PROTOCOL: Final = Answer(426, ErrorCode.UNKNOWN_PROTOCOL)
SLOW_DOWN: Final = Answer(429, ErrorCode.SLOW_DOWN)
LOCKED: Final = Answer(503, ErrorCode.LOCKED)


class Refused(Exception):
    """The message is not taken and nothing has changed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.code.value}")
        self.answer = answer
