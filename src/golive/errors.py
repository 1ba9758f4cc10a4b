"""
What can go wrong in the world, and what a shell sees of it.

Every error a user can meet descends from :class:`GoliveError`, says *place: expected X, got Y. What to do.* and carries
its values as attributes. Exit codes are API: scripts and CI branch on them (docs: reference/exit-codes).
Mistakes in golive's own code are assertions, not these.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What the process tells its caller. Documented, tested, never renumbered."""

    OK = 0
    """GO, or live."""
    BUG = 1
    """A defect in golive itself."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    NO_GO = 3
    """A gate failed."""
    ROLLED_BACK = 4
    """The rollout ended on the old version: rolled back or aborted."""
    TIMEOUT = 5
    """The time allowed for the wait ran out; nothing was changed by that."""
    REFUSED = 6
    """Not allowed now: another rollout runs, a freeze, a self-review, a quarantined version."""
    WAITING = 7
    """Paused for a human: an approval is outstanding."""
    INTERRUPTED = 130
    """Control-C. The rollout goes on; only the view of it ended."""


class GoliveError(Exception):
    """Root of everything golive raises on purpose. ``str(error)`` is one line for a person at night."""

    exit_code: ExitCode = ExitCode.BUG


class UsageError(GoliveError):
    """The command was called in a way that cannot work."""

    exit_code = ExitCode.USAGE


class ConfigError(GoliveError):
    """
    The configuration is wrong. Holds *all* faults found, so that one run of the editor mends them.

    Attributes:
        faults: one line each, ``file:line:col key: expected X, got Y. What to do.``
    """

    exit_code = ExitCode.USAGE

    def __init__(self, *faults: str) -> None:
        assert faults, "a ConfigError names at least one fault"
        self.faults = faults
        super().__init__("\n".join(faults))


class StateError(GoliveError):
    """golive's own files (journal, job store) cannot be read or written. Traffic stays where the gateway has it."""

    exit_code = ExitCode.USAGE


class UnavailableError(GoliveError):
    """Something golive needs does not answer: the gateway, a release, a database, a port already taken."""

    exit_code = ExitCode.USAGE


class RefusedError(GoliveError):
    """The request is well-formed and not allowed now. The message says by what, and until when."""

    exit_code = ExitCode.REFUSED


class NoGoError(GoliveError):
    """A gate said NO-GO."""

    exit_code = ExitCode.NO_GO


class TimeoutExceededError(GoliveError):
    """A wait ended by its limit. What was waited for goes on."""

    exit_code = ExitCode.TIMEOUT


class TryLaterError(GoliveError):
    """
    What a request needs is away for a while. Raised inside a handler, the chassis answers 503 with ``Retry-After``.

    Attributes:
        told: one sentence for the caller, without our insides.
        retry_after_seconds: when to come back, > 0.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, told: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.told = told
        self.retry_after_seconds = retry_after_seconds


def did_you_mean(word: str, known: list[str]) -> str:
    """
    ``, did you mean "idempotency"?`` for the nearest known word, or the empty string when nothing is near.

    >>> did_you_mean("idempotancy", ["health", "idempotency"])
    ', did you mean "idempotency"?'
    """
    import difflib  # only on the way to an error message

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""
