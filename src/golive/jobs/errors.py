"""What a handler raises to end its job with a reason, and what a caller of the jobs room can meet."""

from __future__ import annotations

from golive.errors import GoliveError, UsageError


class JobError(Exception):
    """
    Raised by a handler: the job ends with this reason. The same error serves both contracts: the caller who waits gets
    *status* as the HTTP status, the caller who polls finds a failed job with the same *code*.

    Attributes:
        code: short and stable, for programs: ``"venue_unknown"``.
        message: one line for the person who reads the answer. It is shown to the client.
        status: HTTP status of the synchronous answer, 400..599.
        retryable: True lets the job be tried again while it has attempts left.
    """

    def __init__(self, code: str, message: str = "", *, status: int = 500, retryable: bool = False) -> None:
        if not code or not 400 <= status <= 599:
            raise ValueError(f"JobError: expected a code and a status of 400..599, got {code!r} and {status!r}.")
        self.code = code
        self.message = message or code.replace("_", " ")
        self.status = status
        self.retryable = retryable
        super().__init__(f"{code}: {self.message}")


class UnknownHandlerError(UsageError):
    """A job names a handler this program does not have. Attributes: name."""

    def __init__(self, name: str, hint: str = "") -> None:
        self.name = name
        super().__init__(f"jobs: unknown handler {name!r}{hint} Register it with @jobs.handler({name!r}).")


class InvalidPayloadError(GoliveError):
    """The payload is not what the handler takes; answered with 400. ``str()`` says where and why."""


class KeyReusedError(GoliveError):
    """An idempotency key came back with a different payload; answered with 422. Attributes: key."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"Idempotency-Key {key!r}: expected the payload it was first used with, got another one. "
            "Send a new key for a new job."
        )
