"""What a handler raises to end its job with a reason, and what a caller of the jobs room can meet."""

from __future__ import annotations

from golive.errors import GoliveError, TryLaterError, UsageError


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


class NotNow(TryLaterError):
    """
    Raised by a handler: not now. The job waits and runs again; the attempt is not held against it, however often.

    For what the job cannot help: a downstream that asks to slow down. The caller who waits gets 503 and Retry-After.
    Every :class:`golive.errors.TryLaterError` does the same, an open circuit breaker's among them.
    """

    def __init__(self, seconds: float, reason: str = "the job waits for something it depends on") -> None:
        if not 0 < seconds <= 7 * 86_400:
            raise ValueError(f"NotNow: expected more than 0 seconds and at most a week, got {seconds!r}.")
        super().__init__(f"not before {seconds:g} s: {reason}", reason, float(seconds))


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
