"""How a command ends when it cannot do what was asked: one sentence on standard error, never a traceback."""


class Stop(Exception):
    """Ends the command with `status`; the text says what is wrong and what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
